"""Mild sharpening, saturation and contrast, each off by default: then the picture is
returned untouched.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from gpu_worker.engines import Engine
from gpu_worker.engines.quantise import GREY_WEIGHTS
from gpu_worker.photo import Photo, Pixels
from gpu_worker.pixels import scratch
from gpu_worker.pixels.row_chunks import bands
from gpu_worker.steps.base import StepResult, Tools
from shared.runtime.settings import Settings
from shared.workflows import ResolvedStep

KERNEL = np.array([1, 4, 6, 4, 1], np.float32) / np.float32(16)
"""Binomial blur, sigma one pixel: sharpening touches the finest detail only."""
MARGIN_PX = len(KERNEL) // 2


def run(photo: Photo, step: ResolvedStep, engine: Engine, tools: Tools) -> StepResult:  # noqa: ARG001 - as every step
    """Add `sharpen` (0..1) of an unsharp mask, scale `contrast` about mid grey and
    `saturation` about luma.
    """
    sharpen, saturation, contrast = (
        float(step.params[name]) for name in ("sharpen", "saturation", "contrast")
    )
    detail = {"sharpen": sharpen, "saturation": saturation, "contrast": contrast}
    if (sharpen, saturation, contrast) == (0, 1, 1):
        return StepResult(photo, detail)
    pixels = _finished(photo.pixels, sharpen, saturation, contrast, tools.settings)
    return StepResult(photo.with_(pixels=pixels), detail)


def _finished(
    pixels: Pixels,
    sharpen: float,
    saturation: float,
    contrast: float,
    settings: Settings,
) -> Pixels:
    height, width, channels = pixels.shape
    canvas = cast(Pixels, scratch.allocate(pixels.shape, pixels.dtype, settings))
    middle = np.iinfo(pixels.dtype).max / 2
    for rows in bands(height, width * channels * 16):
        around = np.clip(
            np.arange(rows.start - MARGIN_PX, rows.stop + MARGIN_PX), 0, height - 1
        )
        source = pixels[around].astype(np.float32)
        values = source[MARGIN_PX:-MARGIN_PX]
        if sharpen:
            values = values + np.float32(sharpen) * (values - _blurred(source))
        values = middle + np.float32(contrast) * (values - middle)
        if channels == 3 and saturation != 1:
            luma = (values @ np.asarray(GREY_WEIGHTS, np.float32))[:, :, np.newaxis]
            values = luma + np.float32(saturation) * (values - luma)
        canvas[rows] = np.rint(np.clip(values, 0, 2 * middle))
        scratch.drop(canvas[rows])
    return canvas


def _blurred(source: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h + 2·margin, w, c) -> (h, w, c), the border columns repeated."""
    height, width, _ = source.shape
    wide = np.pad(source, ((0, 0), (MARGIN_PX, MARGIN_PX), (0, 0)), "edge")
    level = np.zeros_like(source)
    for i, share in enumerate(KERNEL):
        level += share * wide[:, i : i + width]
    rows = height - 2 * MARGIN_PX
    blurred = np.zeros_like(source[:rows])
    for i, share in enumerate(KERNEL):
        blurred += share * level[i : i + rows]
    return blurred
