"""Take haze out of a photo by the dark channel prior: no network, no weights.

Outdoors nearly every small patch holds something dark in one colour channel; what
brightens it is haze (He, Sun and Tang, 2009). The veil is measured on a reduced picture
and refined along its edges with a guided filter, whose few coefficients are then
applied to the full picture in bands. All of it is NumPy's arithmetic, so every worker
can do it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_worker.engines import Engine
from gpu_worker.photo import Photo, Pixels, top_level
from gpu_worker.pixels import area, bilinear, scratch
from gpu_worker.pixels.row_chunks import bands
from gpu_worker.steps.base import StepResult, Tools
from shared.runtime.settings import ScratchSettings
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
BYTES_PER_SAMPLE = 12
"""Working memory for each sample of a row, roughly."""

Floats = NDArray[np.float32]


def run(photo: Photo, step: ResolvedStep, engine: Engine, tools: Tools) -> StepResult:  # noqa: ARG001 - as every step
    """Remove the share `amount` (0..1) of the haze."""
    amount = float(step.params["amount"])
    detail: dict[str, Any] = {"amount": amount}
    if amount == 0:
        return StepResult(photo, detail)
    small = _reduced(photo.pixels)
    haze = _haze_colour(small)
    coefficients = _transmission(small, haze, amount)
    detail["haze"] = [round(float(level), 4) for level in haze]
    pixels = _cleared(photo.pixels, haze, coefficients, tools.settings)
    return StepResult(photo.with_(pixels=pixels), detail)


def _reduced(pixels: Pixels) -> Floats:
    """(h, w, c) -> float32 0..1 with sides of at most `SIDE_PX`."""
    height, width, _ = pixels.shape
    factor = min(1.0, SIDE_PX / max(height, width))
    small_width = max(1, round(width * factor))
    small_height = max(1, round(height * factor))
    small = area.reduce(pixels, (small_width, small_height))
    return small.astype(np.float32) / top_level(pixels.dtype)


def _dark_channel(picture: Floats) -> Floats:
    """(h, w, c) -> (h, w): the darkest value of all channels in the patch around."""
    darkest: Floats = picture.min(2)
    darkest = _darkest_above_and_below(darkest)
    return _darkest_above_and_below(darkest.T).T


def _darkest_above_and_below(values: Floats) -> Floats:
    """(h, w): the darkest of `PATCH_PX` rows, the patch cut at the border."""
    height = len(values)
    margin = (PATCH_PX // 2, PATCH_PX // 2)
    beside = np.pad(values, (margin, (0, 0)), constant_values=np.inf)
    darkest = values
    for offset in range(PATCH_PX):
        shifted = beside[offset : offset + height]
        darkest = np.minimum(darkest, shifted)
    return darkest


def _haze_colour(small: Floats) -> Floats:
    """(c,): the mean colour of the pixels whose dark channel is brightest."""
    dark = _dark_channel(small).ravel()
    count = max(1, round(dark.size * HAZIEST))
    brightest = np.argpartition(dark, -count)[-count:]
    colours = small.reshape(dark.size, -1)
    mean: Floats = colours[brightest].mean(0)
    return np.maximum(mean, NEVER_BLACK)


def _transmission(small: Floats, haze: Floats, amount: float) -> Floats:
    """(h, w, 2): slope and offset that give, for a grey value, how much light of the
    scene comes through.

    They are those of a guided filter: a linear fit, in the square around each pixel, of
    the rough transmission to the picture's grey.
    """
    guide: Floats = small.mean(2)
    rough = 1 - np.float32(amount) * _dark_channel(small / haze)
    mean = _mean_around(guide)
    rough_mean = _mean_around(rough)
    covariance = _mean_around(guide * rough) - mean * rough_mean
    variance = _mean_around(guide * guide) - mean * mean
    slope = covariance / (variance + SMOOTHNESS)
    offset = rough_mean - slope * mean
    return np.stack([_mean_around(slope), _mean_around(offset)], 2)


def _mean_around(picture: NDArray[Any]) -> Floats:
    """(h, w) -> the mean of the square around each pixel; the picture is mirrored at
    its borders.
    """
    mean = picture.astype(np.float64)
    mean = _mean_above_and_below(mean)
    mean = _mean_above_and_below(mean.T).T
    return mean.astype(np.float32)


def _mean_above_and_below(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(h, w): the mean of the rows around, by differences of running sums."""
    side = 2 * RADIUS_PX + 1
    margin = (RADIUS_PX + 1, RADIUS_PX)
    mirrored = np.pad(values, (margin, (0, 0)), "symmetric")
    sums = mirrored.cumsum(0)
    mean: NDArray[np.float64] = (sums[side:] - sums[:-side]) / side
    return mean


def _cleared(
    pixels: Pixels,
    haze: Floats,
    coefficients: Floats,
    settings: ScratchSettings,
) -> Pixels:
    height, width, channels = pixels.shape
    top = top_level(pixels.dtype)
    canvas = scratch.picture(pixels.shape, pixels.dtype, settings)
    row_bytes = width * (channels + 3) * BYTES_PER_SAMPLE
    for band in bands(height, row_bytes):
        values = pixels[band].astype(np.float32) / top
        local = bilinear.rows(coefficients, (width, height), band)
        slope = local[:, :, :1]
        offset = local[:, :, 1:]
        grey = values.mean(2, keepdims=True)
        transmission = slope * grey + offset
        held = np.clip(transmission, THICKEST, CLEAREST)
        cleared = (values - haze) / held + haze
        levels = np.clip(cleared, 0, 1) * top
        canvas[band] = np.rint(levels)
        scratch.drop(canvas[band])
    return canvas
