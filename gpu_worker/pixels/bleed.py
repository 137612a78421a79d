"""Colours under transparent pixels.

The colour under a fully transparent pixel is arbitrary, often black, and a network
would smear it into the visible edge as a dark fringe. So it is replaced by the nearest
visible colours, spread outward level by level of an image pyramid. Visible pixels keep
their exact values.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gpu_worker.photo import Pixels, top_level
from gpu_worker.pixels.row_chunks import bands

MIN_SIDE_PX = 4
BYTES_PER_SAMPLE = 8
"""Working memory for each sample of a row, roughly."""

Floats = NDArray[np.float32]


def bleed(pixels: Pixels, alpha: Pixels) -> Pixels:
    """`pixels` (h, w, c) with invented colours where `alpha` (h, w) is 0.

    The input is not changed; it is returned as it is when all of it or nothing is
    visible. Only floats of half the size and below are held: a big photo is read and
    filled in bands.
    """
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return pixels
    around = _surroundings(pixels, alpha)
    result = pixels.copy()
    for rows in _even_bands(pixels):
        half_rows = slice(rows.start // 2, (rows.stop + 1) // 2)
        mask = hidden[rows]
        colours = _doubled(around[half_rows], mask.shape)
        np.rint(colours, out=colours)
        levels = colours.astype(pixels.dtype)
        np.copyto(result[rows], levels, where=mask[:, :, np.newaxis])
    return result


def _surroundings(pixels: Pixels, alpha: Pixels) -> Floats:
    """A colour for every 2x2 block, from its visible pixels or from those around."""
    sums: list[Floats] = []
    weights: list[Floats] = []
    for rows in _even_bands(pixels):
        visibility = _visibility(alpha[rows])
        sums.append(_halved(pixels[rows] * visibility))
        weights.append(_halved(visibility))
    return _filled(np.concatenate(sums), np.concatenate(weights))


def _even_bands(pixels: Pixels) -> Iterator[slice]:
    """Bands that begin at even rows, so that no 2x2 block lies in two of them."""
    height, width, channels = pixels.shape
    pairs = (height + 1) // 2
    pair_bytes = 2 * width * channels * BYTES_PER_SAMPLE
    for band in bands(pairs, pair_bytes):
        end = min(2 * band.stop, height)
        yield slice(2 * band.start, end)


def _visibility(alpha: Pixels) -> Floats:
    """(h, w) -> (h, w, 1), 0..1: a hardly visible pixel hardly counts."""
    levels = alpha.astype(np.float32)
    return levels[:, :, np.newaxis] / top_level(alpha.dtype)


def _filled(sums: Floats, weights: Floats) -> Floats:
    """The mean colour of every block.

    `sums`: colours times weights, (h, w, c); `weights`: (h, w, 1). A block without
    weight gets the colours around it, from the level above.
    """
    visible = weights > 0
    nothing = np.zeros_like(sums)
    colours: Floats = np.divide(sums, weights, out=nothing, where=visible)
    height, width, _ = colours.shape
    if min(height, width) < MIN_SIDE_PX or weights.all():
        around = sums.sum((0, 1)) / weights.sum()
    else:
        quarter = weights / np.float32(4)
        above = _filled(_halved(colours * quarter), _halved(quarter))
        around = _doubled(above, colours.shape)
    return np.where(visible, colours, around)


def _doubled(array: Floats, shape: tuple[int, ...]) -> Floats:
    """Each pixel as a 2x2 block, cut to the height and width of `shape`. A copy."""
    height, width = shape[:2]
    tall = array.repeat(2, 0)
    return tall.repeat(2, 1)[:height, :width]


def _halved(array: Floats) -> Floats:
    """Sums of 2x2 blocks; an odd last row or column is a block of its own."""
    height, width = array.shape[:2]
    below = (0, height % 2)
    right = (0, width % 2)
    padded = np.pad(array, (below, right, (0, 0)))
    upper = padded[::2]
    lower = padded[1::2]
    # In place, in this order: three more pictures would be in memory otherwise.
    sums: Floats = upper[:, ::2] + lower[:, ::2]
    sums += upper[:, 1::2]
    sums += lower[:, 1::2]
    return sums
