"""Mild smoothing, sharpening, saturation and contrast, and film grain. Each is off by default; with
all of them off the photo is returned untouched.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gpu_worker.engines import Engine
from gpu_worker.engines.quantise import GREY_WEIGHTS
from gpu_worker.photo import Photo, Pixels
from gpu_worker.pixels import scratch
from gpu_worker.pixels.row_chunks import bands
from gpu_worker.steps.base import StepResult, Tools
from shared.workflows import ResolvedStep

KERNEL = np.array([1, 4, 6, 4, 1], np.float32) / np.float32(16)
"""Binomial blur, sigma one pixel: sharpening touches the finest detail only."""
MARGIN_PX = len(KERNEL) // 2
FAINT = 0.02
"""A difference from the surroundings, of a range of 0..1, that is noise as likely as an
edge: smoothing takes half of it, more of a fainter one and less of a stronger one.
"""
GRAIN_LEVELS = 0.08
"""Standard deviation of the strongest grain in mid grey, of a range of 0..1."""
NUMBERS_A_GRAIN = 8
"""Random bytes whose sum is one grain: nearly a normal distribution."""
BYTES_PER_SAMPLE = 16
"""Working memory for each sample of a row, roughly."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class _Touch:
    """How strong each correction is."""

    sharpen: float
    saturation: float
    contrast: float
    grain: float = 0.0
    smooth: float = 0.0


NONE = _Touch(sharpen=0, saturation=1, contrast=1)
MILD = _Touch(sharpen=0.2, saturation=1.1, contrast=1.05)


def run(photo: Photo, step: ResolvedStep, engine: Engine, tools: Tools) -> StepResult:  # noqa: ARG001 - as every step
    """Take `smooth` (0..1) of what is fine and faint away, add `sharpen` (0..1) of an
    unsharp mask of the rest, scale `contrast` about mid grey and `saturation` about
    luma; with the `tuning` mild, the last three are those of `MILD`. Last, add `grain`
    (0..1), the same in every channel, by the task's seed.
    """
    touch = _touch(step)
    detail = {
        "sharpen": touch.sharpen,
        "saturation": touch.saturation,
        "contrast": touch.contrast,
    }
    if touch.grain:
        detail["grain"] = touch.grain
    if touch.smooth:
        detail["smooth"] = touch.smooth
    if touch == NONE:
        return StepResult(photo, detail)
    pixels = _finished(photo.pixels, touch, tools)
    return StepResult(photo.with_(pixels=pixels), detail)


def _touch(step: ResolvedStep) -> _Touch:
    grain = float(step.params.get("grain", 0.0))
    smooth = float(step.params.get("smooth", 0.0))
    if step.params.get("tuning") == "mild":
        return replace(MILD, grain=grain, smooth=smooth)
    return _Touch(
        sharpen=float(step.params["sharpen"]),
        saturation=float(step.params["saturation"]),
        contrast=float(step.params["contrast"]),
        grain=grain,
        smooth=smooth,
    )


def _finished(pixels: Pixels, touch: _Touch, tools: Tools) -> Pixels:
    height, width, channels = pixels.shape
    canvas = scratch.picture(pixels.shape, pixels.dtype, tools.settings)
    row_bytes = width * channels * BYTES_PER_SAMPLE
    top = np.iinfo(pixels.dtype).max
    middle = np.float32(top / 2)
    for rows in bands(height, row_bytes):
        source = _with_margin(pixels, rows)
        values = _corrected(source, touch, middle)
        if touch.grain:
            values = _grained(values, touch.grain, top, rows, tools.seed)
        levels = np.clip(values, 0, top)
        canvas[rows] = np.rint(levels)
        scratch.drop(canvas[rows])
    return canvas


def _with_margin(pixels: Pixels, rows: slice) -> Floats:
    """Some rows and `MARGIN_PX` beside them, the picture's border rows repeated."""
    last = len(pixels) - 1
    numbers = np.arange(rows.start - MARGIN_PX, rows.stop + MARGIN_PX)
    inside = np.clip(numbers, 0, last)
    rows_with_margin: Floats = pixels[inside].astype(np.float32)
    return rows_with_margin


def _corrected(source: Floats, touch: _Touch, middle: np.float32) -> Floats:
    """(h + 2·margin, w, c) -> (h, w, c); `middle`: the level of mid grey."""
    values = source[MARGIN_PX:-MARGIN_PX]
    if touch.sharpen or touch.smooth:
        detail = values - _blurred(source)
    if touch.smooth:
        faint = np.float32(FAINT) * 2 * middle
        share = np.float32(touch.smooth) / (1 + (detail / faint) ** 2)
        values = values - share * detail
        detail = detail - share * detail
    if touch.sharpen:
        values = values + np.float32(touch.sharpen) * detail
    values = middle + np.float32(touch.contrast) * (values - middle)
    is_coloured = values.shape[2] == 3
    if is_coloured and touch.saturation != 1:
        weights = np.asarray(GREY_WEIGHTS, np.float32)
        luma: Floats = (values @ weights)[:, :, np.newaxis]
        values = luma + np.float32(touch.saturation) * (values - luma)
    return values


def _grained(values: Floats, grain: float, top: int, rows: slice, seed: int) -> Floats:
    """Some rows (h, w, c) of a picture whose white is `top`, with grain: most where they
    are mid grey, none in black and white.
    """
    level = np.clip(values.mean(2) / np.float32(top), 0, 1)
    strength = np.float32(4 * GRAIN_LEVELS * grain * top) * level * (1 - level)
    grains = np.stack([_grains(seed, row, values.shape[1]) for row in _numbers(rows)])
    grained: Floats = values + (grains * strength)[:, :, np.newaxis]
    return grained


def _numbers(rows: slice) -> range:
    return range(rows.start, rows.stop)


def _grains(seed: int, row: int, width: int) -> Floats:
    """Normally distributed numbers for one row of a picture, always the same."""
    # Of all random numbers of the library only these are promised to stay the same.
    raw = np.asarray(np.random.PCG64([seed, row]).random_raw(width), "<u8")
    numbers = raw.view(np.uint8).reshape(width, NUMBERS_A_GRAIN)
    sums = numbers.sum(1, dtype=np.float32)
    middle = np.float32(NUMBERS_A_GRAIN * 255 / 2)
    deviation = np.float32(np.sqrt(NUMBERS_A_GRAIN * (256**2 - 1) / 12))
    grains: Floats = (sums - middle) / deviation
    return grains


def _blurred(source: Floats) -> Floats:
    """(h + 2·margin, w, c) -> (h, w, c), the border columns repeated."""
    height, width, _ = source.shape
    margin = (MARGIN_PX, MARGIN_PX)
    wide = np.pad(source, ((0, 0), margin, (0, 0)), "edge")
    across = np.zeros_like(source)
    for offset, share in enumerate(KERNEL):
        across += share * wide[:, offset : offset + width]
    rows = height - 2 * MARGIN_PX
    blurred = np.zeros_like(source[:rows])
    for offset, share in enumerate(KERNEL):
        blurred += share * across[offset : offset + rows]
    return blurred
