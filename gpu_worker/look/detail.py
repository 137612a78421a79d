"""Noise, JPEG blocks and sharpness, from the luma of windows at full resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpu_worker.look.samples import BLOCK_PX, Floats

PATCH_PX = 16
FLATTEST = 10
"""Percentile of the patches: the flattest of a photo show its noise."""
TOO_DARK, TOO_BRIGHT = 4, 251
"""Levels at which noise is cut off."""
MOST = 0.9
"""Share of a patch's pixels that must lie between."""
SIGMA_OF_MEDIAN = 0.6745
"""Median of the absolute value of normal noise, in standard deviations."""
GAIN = 6.0
"""Standard deviation of the mask's answer to noise of 1 (Immerkær, 1996)."""
STRONGEST = 99.5
"""Percentile of the differences of neighbours: the edges of a photo."""
NOISE_IN_STRONGEST = 2.807 * np.sqrt(2)
"""That percentile of the differences of neighbours in noise of 1."""


@dataclass(frozen=True)
class Detail:
    """`noise`: standard deviation, in levels of 255. `blockiness`: by how many levels
    the borders of JPEG blocks stand out. `sharpness`: the steepest slope over one pixel
    as a share of that over two: 1 at an edge one pixel wide, 0.5 at a wide one.
    """

    noise: float
    blockiness: float
    sharpness: float


def detail(windows: Sequence[Floats]) -> Detail:
    """The figures of some windows (h, w) of one photo, float32 0..255."""
    noise = _noise(windows)
    return Detail(
        noise=noise,
        blockiness=_blockiness(windows),
        sharpness=_sharpness(windows, noise),
    )


def _noise(windows: Sequence[Floats]) -> float:
    found = [_noise_of_patches(window) for window in windows]
    patches = np.concatenate(found)
    if not len(patches):
        return 0.0
    return float(np.percentile(patches, FLATTEST))


def _noise_of_patches(window: Floats) -> Floats:
    """(n,): the noise of each patch that is neither too dark nor too bright."""
    if min(window.shape) < PATCH_PX + 2:
        return np.empty(0, np.float32)
    answer = _patches(np.abs(_without_slopes(window)))
    inner = _patches(window[1:-1, 1:-1])
    usable = (inner > TOO_DARK) & (inner < TOO_BRIGHT)
    sigma: Floats = np.median(answer, 1) / (SIGMA_OF_MEDIAN * GAIN)
    of_usable: Floats = sigma[usable.mean(1) >= MOST]
    return of_usable


def _without_slopes(window: Floats) -> Floats:
    """(h, w) -> (h - 2, w - 2): the mask that answers to noise, and neither to slopes
    nor to straight edges.
    """
    down = window[:-2] - 2 * window[1:-1] + window[2:]
    both: Floats = down[:, :-2] - 2 * down[:, 1:-1] + down[:, 2:]
    return both


def _patches(picture: Floats) -> Floats:
    """(h, w) -> (n, pixels of a patch); what makes no whole patch is left out."""
    down, across = (length // PATCH_PX for length in picture.shape)
    whole = picture[: down * PATCH_PX, : across * PATCH_PX]
    split = whole.reshape(down, PATCH_PX, across, PATCH_PX)
    return split.transpose(0, 2, 1, 3).reshape(-1, PATCH_PX * PATCH_PX)


def _blockiness(windows: Sequence[Floats]) -> float:
    """The smaller of both directions: a photo may have a straight edge in one."""
    across = _border_height(windows)
    down = _border_height([window.T for window in windows])
    return min(across, down)


def _border_height(windows: Sequence[Floats]) -> float:
    """How much higher the step is at one of eight columns than at the others.

    A cropped photo's blocks begin anywhere, so that each of the eight may be it.
    """
    heights = [_steps(window) for window in windows]
    columns = sum(height for height, _ in heights)
    counts = sum(count for _, count in heights)
    mean = np.sort(columns / np.maximum(counts, 1))
    return max(0.0, float(mean[-1] - np.median(mean[:-1])))


def _steps(window: Floats) -> tuple[Floats, Floats]:
    """(8,), (8,): the sums, by column of the block, of the steps that rise above those
    beside them, and how many were summed.
    """
    if window.shape[1] < 4:
        return np.zeros(BLOCK_PX, np.float32), np.zeros(BLOCK_PX, np.float32)
    step = np.abs(np.diff(window, axis=1))
    rise = step[:, 1:-1] - (step[:, :-2] + step[:, 2:]) / 2
    column = np.arange(rise.shape[1]) % BLOCK_PX
    sums = np.bincount(column, rise.mean(0), BLOCK_PX)
    counts = np.bincount(column, minlength=BLOCK_PX)
    return sums.astype(np.float32), counts.astype(np.float32)


def _sharpness(windows: Sequence[Floats], noise: float) -> float:
    halves = [_halved(window) for window in windows]
    fine = _steepest(windows, noise)
    coarse = _steepest(halves, noise / 2)
    return fine / coarse if coarse else 0.0


def _steepest(windows: Sequence[Floats], noise: float) -> float:
    """The steepest slopes [levels a pixel], without what is noise in them."""
    slopes = [
        np.abs(np.diff(window, axis=axis)).ravel()
        for window in windows
        for axis in (0, 1)
    ]
    together = np.concatenate(slopes)
    if not len(together):
        return 0.0
    steepest = float(np.percentile(together, STRONGEST))
    of_noise = float(NOISE_IN_STRONGEST) * noise
    return float(np.sqrt(max(0.0, steepest**2 - of_noise**2)))


def _halved(window: Floats) -> Floats:
    """(h, w) -> (h // 2, w // 2), by means; a single row or column stays one."""
    height, width = (max(1, length // 2) for length in window.shape)
    rows = window[: 2 * height].reshape(height, -1, window.shape[1]).mean(1)
    half: Floats = rows[:, : 2 * width].reshape(height, width, -1).mean(2)
    return half
