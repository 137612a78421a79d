"""Thin structures of one plane, in whole numbers: the same pixel has the same values in
whatever window it is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WIDEST_PX = 8
"""The widest line that is seen."""
ACTIVITY_PX = 65
"""Side of the square over which the texture around a pixel is measured."""
LENGTH_PX = 32
"""Length of the straight piece that must be there along a line: a power of two."""
BESIDE_PX = 5
"""How far beside a line there must be none."""
DIRECTIONS = 20
LEAST_CONTRAST = 20
TEXTURE_WEIGHT = 3
"""A line counts in full where its contrast reaches `LEAST_CONTRAST` levels and, beside
it, `TEXTURE_WEIGHT` times that of the texture around.
"""
FULL = 255
ACTIVITY_UNIT = 16
"""Parts of a level in which the activity is counted."""

HALO_PX = WIDEST_PX + ACTIVITY_PX // 2 + LENGTH_PX // 2 + BESIDE_PX + 1
"""How far beyond a window pixels matter to its values."""

Bytes = NDArray[np.uint8]
Shorts = NDArray[np.int16]


@dataclass(frozen=True)
class LineMap:
    """What is known of each pixel of a plane (height, width).

    `contrast`: levels above the background. `activity`: mean contrast around, in
    `ACTIVITY_UNIT`ths of a level. `clarity`: 0..255, the contrast as a share of what would be
    clear. `straightness`: -255..255, how much of a straight piece through the pixel is
    clear, beyond what is so beside it.
    """

    contrast: Bytes
    activity: Shorts
    clarity: Bytes
    straightness: Shorts

    def within(self, core: tuple[slice, slice]) -> LineMap:
        """The part of the map in `core`."""
        return LineMap(
            self.contrast[core],
            self.activity[core],
            self.clarity[core],
            self.straightness[core],
        )


def side_by_side(parts: list[LineMap]) -> LineMap:
    """The map of windows that stand beside each other, left to right."""
    return LineMap(
        np.concatenate([part.contrast for part in parts], 1),
        np.concatenate([part.activity for part in parts], 1),
        np.concatenate([part.clarity for part in parts], 1),
        np.concatenate([part.straightness for part in parts], 1),
    )


def line_map(plane: Bytes) -> LineMap:
    """The map of the bright thin structures of a plane (height, width), whose borders
    are repeated outward. `HALO_PX` at each side of a window are not to be used.
    """
    contrast = plane - _opened(plane)
    activity = _mean_around(contrast)
    needed = LEAST_CONTRAST + activity.astype(np.float32) * (
        TEXTURE_WEIGHT / ACTIVITY_UNIT
    )
    clear = np.minimum(contrast * np.float32(FULL) / needed, FULL)
    clarity = clear.astype(np.uint8)
    return LineMap(contrast, activity, clarity, _straightness(clarity))


def _opened(plane: Bytes) -> Bytes:
    """The plane without bright structures narrower than a square of `WIDEST_PX` + 1."""
    side = WIDEST_PX + 1
    eroded = _extreme(_extreme(plane, side, np.minimum).T, side, np.minimum)
    return _extreme(_extreme(eroded, side, np.maximum).T, side, np.maximum)


def _extreme(plane: Bytes, side: int, extreme: np.ufunc) -> Bytes:
    """The least or greatest of `side` (odd) rows around each pixel."""
    height = len(plane)
    half = side // 2
    values = np.pad(plane, ((half, half), (0, 0)), "edge")
    reach = 1
    while 2 * reach <= side:
        values = extreme(values[:-reach], values[reach:])
        reach *= 2
    last = side - reach
    found: Bytes = extreme(values[:height], values[last : last + height])
    return found


def _mean_around(contrast: Bytes) -> Shorts:
    """The mean of the square around each pixel, `ACTIVITY_UNIT` a level."""
    sums = _sum_above_and_below(contrast.astype(np.int64))
    sums = _sum_above_and_below(sums.T).T
    mean: Shorts = (sums * ACTIVITY_UNIT // ACTIVITY_PX**2).astype(np.int16)
    return mean


def _sum_above_and_below(values: NDArray[np.int64]) -> NDArray[np.int64]:
    half = ACTIVITY_PX // 2
    beside = np.pad(values, ((half + 1, half), (0, 0)), "edge")
    sums = beside.cumsum(0)
    around: NDArray[np.int64] = sums[ACTIVITY_PX:] - sums[:-ACTIVITY_PX]
    return around


def _straightness(clarity: Bytes) -> Shorts:
    """The best of all directions."""
    height, width = clarity.shape
    margin = LENGTH_PX // 2 + BESIDE_PX + 1
    padded = np.pad(clarity, margin, "edge")
    row = padded.shape[1]
    # Positions are those of the flattened picture: what wraps around lies in the margin.
    flat = padded.ravel().astype(np.int16)
    first = margin * row + margin
    count = (height - 1) * row + width
    best = np.full(height * row, -FULL, np.int16)
    for down, right in _unit_vectors():
        means = _means_along(flat, down, right, row)
        begin = first - _step(LENGTH_PX // 2, down, right, row)
        beside = _step(BESIDE_PX, -right, down, row)
        middle = means[begin : begin + count]
        one = means[begin - beside :][:count]
        other = means[begin + beside :][:count]
        alone = middle - np.maximum(one, other)
        np.maximum(best[:count], alone, out=best[:count])
    return np.ascontiguousarray(best.reshape(height, row)[:, :width])


def _unit_vectors() -> list[tuple[float, float]]:
    """(down, right) of each direction; half a turn has them all."""
    angles = [np.pi * number / DIRECTIONS for number in range(DIRECTIONS)]
    return [(float(np.sin(angle)), float(np.cos(angle))) for angle in angles]


def _step(length: int, down: float, right: float, row: int) -> int:
    """How far it is to the pixel `length` away, in a picture with `row` pixels a row."""
    return round(length * down) * row + round(length * right)


def _means_along(flat: Shorts, down: float, right: float, row: int) -> Shorts:
    """The mean of the `LENGTH_PX` pixels along the line that begins at each position.

    The line is doubled again and again: five additions for 32 pixels.
    """
    sums = flat
    length = 1
    while length < LENGTH_PX:
        step = _step(length, down, right, row)
        longer = sums.copy()
        if step > 0:
            longer[:-step] += sums[step:]
        else:
            longer[-step:] += sums[:step]
        sums = longer
        length *= 2
    return sums // np.int16(LENGTH_PX)
