"""Restore the faces in a photo, one by one; everything else stays as it is."""

from __future__ import annotations

import numpy as np

from gpu_worker import models
from gpu_worker.engines import Engine, FaceRestorer, FaceRestoring, OutOfMemory
from gpu_worker.engines.quantise import GREY_WEIGHTS
from gpu_worker.photo import Photo, Pixels
from gpu_worker.pixels import scratch
from gpu_worker.steps import face_geometry as faces
from gpu_worker.steps.base import StepResult, Tools
from shared.errors import Code, NotFound, PermanentError
from shared.models import Model
from shared.runtime.installation import how_to_add
from shared.workflows import ResolvedStep


def run(photo: Photo, step: ResolvedStep, engine: Engine, tools: Tools) -> StepResult:
    """`strength` 0..1 of the restored faces over the photo's own. A photo without faces
    is returned untouched.
    """
    assert step.model is not None
    strength = float(step.params["strength"])
    network = _network(engine, step.model)
    found = faces.find(
        photo.pixels, models.locate(step.model, "detector", tools.settings)
    )
    places = [
        where
        for five in found
        if (where := faces.place(five, photo.width, photo.height))
    ]
    detail = {"faces": len(places), "strength": strength}
    if not places or strength == 0:
        return StepResult(photo, detail)
    pixels = _copied(photo.pixels, tools)
    for number, where in enumerate(places, 1):
        _restore(pixels, where, network, strength)
        tools.progress(number / len(places))
    return StepResult(photo.with_(pixels=pixels), detail)


def _network(engine: Engine, model: Model) -> FaceRestorer:
    if not isinstance(engine, FaceRestoring):
        raise NotFound(
            Code.MODEL_MISSING,
            f"model {model.name} runs on PyTorch only, this worker runs {engine.name}; set DARKROOM_ENGINE to auto or "
            f"torch, {how_to_add('torch')}, and `darkroom models pull {model.name}`",
        )
    return engine.load_face_restorer(model)


def _copied(pixels: Pixels, tools: Tools) -> Pixels:
    canvas = scratch.allocate(pixels.shape, pixels.dtype, tools.settings)
    canvas[...] = pixels
    return canvas  # type: ignore[return-value]


def _restore(
    pixels: Pixels, where: faces.Place, network: FaceRestorer, strength: float
) -> None:
    """One face, in place. A grey photo is shown to the network as three equal channels
    and stays grey.
    """
    top = np.float32(np.iinfo(pixels.dtype).max)
    window = pixels[where.window].astype(np.float32) / top
    colour = np.ascontiguousarray(np.broadcast_to(window, (*window.shape[:2], 3)))
    try:
        face = network.restore(faces.cut(colour, where))
    except OutOfMemory as error:
        detail = "a face did not fit into the device's memory; let a worker with more memory take this photo"
        raise PermanentError(Code.OUT_OF_MEMORY, detail) from error
    better = faces.put_back(colour, face, where, strength)
    if pixels.shape[2] == 1:
        better = (better @ np.asarray(GREY_WEIGHTS, np.float32))[:, :, np.newaxis]
    pixels[where.window] = np.rint(np.clip(better, 0, 1) * top)
