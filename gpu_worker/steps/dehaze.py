"""Take haze out of a photo by the dark channel prior: no network, no weights.

Outdoors nearly every small patch holds something dark in one colour channel; what
brightens it is haze (He, Sun and Tang, 2009). The veil is measured on a reduced picture
and refined along its edges with a guided filter, whose few coefficients are then
applied to the full picture in bands. All of it is NumPy's arithmetic, so every worker
can do it.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gpu_worker.engines import Engine
from gpu_worker.photo import Photo, Pixels
from gpu_worker.pixels import area, bilinear, scratch
from gpu_worker.pixels.row_chunks import bands
from gpu_worker.steps.base import StepResult, Tools
from shared.runtime.settings import Settings
from shared.workflows import ResolvedStep

SIDE_PX = 800
"""Longest side of the reduced picture; the sizes below are pixels of it."""
PATCH_PX = 15
RADIUS_PX = 40
SMOOTHNESS = np.float32(1e-3)
HAZIEST = 1e-3
"""Share of pixels whose mean is taken for the colour of the haze."""
NEVER_BLACK = np.float32(0.05)
CLEAREST, THICKEST = 1.0, 0.1
"""Transmission is held above a tenth: behind more haze there is only noise."""

Floats = NDArray[np.float32]


def run(photo: Photo, step: ResolvedStep, engine: Engine, tools: Tools) -> StepResult:  # noqa: ARG001 - as every step
    """Remove the share `amount` (0..1) of the haze."""
    amount = float(step.params["amount"])
    detail: dict[str, Any] = {"amount": amount}
    if amount == 0:
        return StepResult(photo, detail)
    small = _reduced(photo.pixels)
    haze = _haze(small)
    slopes = _transmission(small, haze, amount)
    detail["haze"] = [round(float(level), 4) for level in haze]
    return StepResult(
        photo.with_(pixels=_cleared(photo.pixels, haze, slopes, tools.settings)), detail
    )


def _reduced(pixels: Pixels) -> Floats:
    """(h, w, c) -> float32 0..1 with sides of at most `SIDE_PX`."""
    height, width, _ = pixels.shape
    factor = min(1.0, SIDE_PX / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return area.reduce(pixels, size).astype(np.float32) / np.float32(
        np.iinfo(pixels.dtype).max
    )


def _dark(picture: Floats) -> Floats:
    """(h, w, c) -> (h, w): the darkest value of all channels in the patch around."""
    darkest: Floats = picture.min(2)
    for axis in (0, 1):
        padding = [(0, 0), (0, 0)]
        padding[axis] = (PATCH_PX // 2, PATCH_PX // 2)
        beside = np.pad(darkest, padding, constant_values=np.inf)
        for step in range(PATCH_PX):
            shifted = [slice(None), slice(None)]
            shifted[axis] = slice(step, step + darkest.shape[axis])
            darkest = np.minimum(darkest, beside[tuple(shifted)])
    return darkest


def _haze(small: Floats) -> Floats:
    """(c,): the colour of the haze, the mean of where the dark channel is brightest."""
    dark = _dark(small).ravel()
    count = max(1, round(dark.size * HAZIEST))
    brightest = np.argpartition(dark, -count)[-count:]
    mean: Floats = small.reshape(dark.size, -1)[brightest].mean(0)
    return np.maximum(mean, NEVER_BLACK)


def _transmission(small: Floats, haze: Floats, amount: float) -> Floats:
    """(h, w, 2): slope and offset by which a grey value tells how much light of the
    scene comes through.
    """
    guide: Floats = small.mean(2)
    rough = 1 - np.float32(amount) * _dark(small / haze)
    mean, rough_mean = _mean(guide), _mean(rough)
    slope = (_mean(guide * rough) - mean * rough_mean) / (
        _mean(guide * guide) - mean * mean + SMOOTHNESS
    )
    return np.stack([_mean(slope), _mean(rough_mean - slope * mean)], 2)


def _mean(picture: NDArray[Any]) -> Floats:
    """(h, w) -> the mean of the square around each pixel; the picture is mirrored at
    its borders.
    """
    side = 2 * RADIUS_PX + 1
    mean = picture.astype(np.float64)
    for axis in (0, 1):
        padding = [(0, 0), (0, 0)]
        padding[axis] = (RADIUS_PX + 1, RADIUS_PX)
        sums = np.pad(mean, padding, "symmetric").cumsum(axis)
        upper, lower = np.split(sums, [side], axis)[1], np.split(sums, [-side], axis)[0]
        mean = (upper - lower) / side
    return mean.astype(np.float32)


def _cleared(
    pixels: Pixels, haze: Floats, slopes: Floats, settings: Settings
) -> Pixels:
    height, width, channels = pixels.shape
    top = np.float32(np.iinfo(pixels.dtype).max)
    canvas = cast(Pixels, scratch.allocate(pixels.shape, pixels.dtype, settings))
    for band in bands(height, width * (channels + 3) * 12):
        values = pixels[band].astype(np.float32) / top
        slope = bilinear.rows(slopes, (width, height), band)
        through = slope[:, :, :1] * values.mean(2, keepdims=True) + slope[:, :, 1:]
        cleared = (values - haze) / np.clip(through, THICKEST, CLEAREST) + haze
        canvas[band] = np.rint(np.clip(cleared, 0, 1) * top)
        scratch.drop(canvas[band])
    return canvas
