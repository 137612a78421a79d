"""Colour a photo: DDColor predicts the two colour channels of CIE Lab, the luminance
stays the photo's own.

The arithmetic around the network is that of the official pipeline, in rows at a time.
Two things differ on purpose: ab is enlarged smoothly where the official code repeats
pixels, and ab is kept within its legal range.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_worker import models
from gpu_worker.codec.srgb import in_srgb
from gpu_worker.engines import Engine, OutOfMemory, PictureNetwork, RunsPictures
from gpu_worker.photo import Depth, Photo, Pixels, top_level
from gpu_worker.pixels import bilinear, lab, scratch
from gpu_worker.pixels.row_chunks import bands
from gpu_worker.steps.base import StepResult, Tools, needs_another_engine
from shared.errors import Code, PermanentError
from shared.models import Model
from shared.workflows import ResolvedStep

GRAIN_PX = 32
"""The network halves its input five times and accepts whole multiples only."""
NOT_WARMED = (
    "skin_tone did nothing: the worker has no face detector; "
    "`darkroom models pull restoreformer-plus-plus` brings one"
)
AB_LOW, AB_HIGH = np.float32(-128), np.float32(127)
INPUT_BYTES_PER_PX = 48
FLOATS_PER_PX = 24
"""Working memory of a row for each of its pixels, roughly: around the network's input,
and in the Lab arithmetic of the whole picture.
"""

Floats = NDArray[np.float32]


def run(photo: Photo, step: ResolvedStep, engine: Engine, tools: Tools) -> StepResult:
    """An RGB photo of the same size and depth. The record gets both the requested and
    the effective size of the network's input. `skin_tone` (-1..1) warms faces.
    """
    assert step.model is not None
    requested = int(step.params["model_size"])
    factor = float(step.params["color_factor"])
    side = snapped(requested)
    network = _network(engine, step.model)
    photo = in_srgb(photo, tools.settings)
    grey = grey_input(photo.pixels, side)
    predicted = _predicted(network, grey, side) * np.float32(factor)
    detail: dict[str, Any] = {
        "model_size": requested,
        "effective_size": side,
        "color_factor": factor,
    }
    warmth = float(step.params.get("skin_tone", 0.0))
    if warmth:
        photo, predicted = _warmed(photo, predicted, warmth, detail, tools)
    ab = np.clip(predicted, AB_LOW, AB_HIGH)
    tools.progress(0.5)
    pixels = coloured(photo.pixels, ab, tools)
    return StepResult(photo.with_(pixels=pixels), detail)


def _warmed(
    photo: Photo, ab: Floats, warmth: float, detail: dict[str, Any], tools: Tools
) -> tuple[Photo, Floats]:
    """The photo, with a note where nobody looked for faces, and its colours."""
    detector = models.face_detector(tools.settings)
    if detector is None or find_spec("onnxruntime") is None:
        return photo.with_(notes=(*photo.notes, NOT_WARMED)), ab
    # Imported here: not every worker that colours has what looks for faces.
    from gpu_worker.steps import face_geometry, skin_tone

    found = face_geometry.find(photo.pixels, detector)
    width, height = photo.width, photo.height
    placed = [face_geometry.place(points, width, height) for points in found]
    places = [place for place in placed if place is not None]
    detail["skin_tone"] = warmth
    detail["faces"] = len(places)
    return photo, skin_tone.warmed(ab, places, width, height, warmth)


def _network(engine: Engine, model: Model) -> PictureNetwork:
    if not isinstance(engine, RunsPictures):
        raise needs_another_engine(model, engine)
    return engine.load_picture_network(model)


def snapped(size: int) -> int:
    """The multiple of 32 nearest to `size` [px], the larger of two."""
    multiple = (size + GRAIN_PX // 2) // GRAIN_PX
    return max(GRAIN_PX, multiple * GRAIN_PX)


def grey_input(pixels: Pixels, side: int) -> Floats:
    """(h, w, 1 or 3) -> the network's input: (side, side, 3) float32 RGB 0..1 with no
    colour left.

    The photo is squeezed into a square by plain bilinear sampling, as in the official
    pipeline: a smoother reduction gives the network a picture it was not trained on.
    """
    row_bytes = pixels.shape[1] * INPUT_BYTES_PER_PX
    size = (side, side)
    parts = [bilinear.rows(pixels, size, band) for band in bands(side, row_bytes)]
    square = _rgb(np.concatenate(parts), pixels.dtype)
    grey = lab.from_linear(lab.linear(square))
    grey[:, :, 1:] = 0
    return lab.to_srgb(grey)


def _predicted(network: PictureNetwork, grey: Floats, side: int) -> Floats:
    try:
        return network.run(grey)
    except OutOfMemory as error:
        detail = (
            f"colouring at model_size {side} does not fit in the device's memory; ask for a smaller model_size, or run "
            "this photo on a worker with more memory"
        )
        raise PermanentError(Code.OUT_OF_MEMORY, detail) from error


def coloured(pixels: Pixels, ab: Floats, tools: Tools) -> Pixels:
    """The picture with the luminance of `pixels` (h, w, 1 or 3) and the colours of `ab`
    (s, s, 2): (h, w, 3), same dtype as `pixels`.
    """
    height, width, _ = pixels.shape
    top = top_level(pixels.dtype)
    shape = (height, width, 3)
    canvas = scratch.picture(shape, pixels.dtype, tools.settings)
    row_bytes = width * 4 * FLOATS_PER_PX
    for band in bands(height, row_bytes):
        colours = _lab(pixels[band])
        colours[:, :, 1:] = bilinear.rows(ab, (width, height), band)
        canvas[band] = np.rint(lab.to_srgb(colours) * top)
        scratch.drop(canvas[band])
        tools.progress(0.5 + 0.5 * band.stop / height)
    return canvas


def _lab(pixels: Pixels) -> Floats:
    """(h, w, 1 or 3) -> CIE Lab, float32."""
    bits = 8 * pixels.dtype.itemsize
    light = lab.linear_levels(bits)[pixels]
    return lab.from_linear(_three_channels(light))


def _rgb(pixels: Pixels | Floats, dtype: Depth) -> Floats:
    """(h, w, 1 or 3) over the full range of `dtype` -> (h, w, 3) float32 0..1."""
    top = top_level(dtype)
    scaled = pixels.astype(np.float32) / top
    return _three_channels(scaled)


def _three_channels(picture: Floats) -> Floats:
    """(h, w, 1 or 3) -> (h, w, 3), contiguous."""
    height, width = picture.shape[:2]
    repeated = np.broadcast_to(picture, (height, width, 3))
    return np.ascontiguousarray(repeated)
