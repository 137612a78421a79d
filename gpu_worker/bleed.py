"""Colours under transparent pixels.

What lies under a fully transparent pixel is arbitrary, often black, and a network would smear it into the visible edge
as a dark fringe. So it is replaced by the nearest visible colours, spread outward level by level of an image pyramid.
Visible pixels keep their exact values.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gpu_worker.photo import Pixels

MIN_SIDE_PX = 4


def bleed(pixels: Pixels, alpha: Pixels) -> Pixels:
    """(h, w, c) and (h, w) -> pixels with invented colours where alpha is 0. The input is not changed."""
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return pixels
    filled = _spread(pixels.astype(np.float32), (~hidden).astype(np.float32))
    # np.copyto keeps the visible pixels bit for bit.
    result = pixels.copy()
    np.copyto(result, np.rint(filled).astype(pixels.dtype), where=hidden[:, :, np.newaxis])
    return result


def _spread(colour: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """`colour` where `weight` is 1; elsewhere the average of the visible colours around, from the level above."""
    height, width = weight.shape
    if min(height, width) < MIN_SIDE_PX or weight.all():
        total = weight.sum()
        mean = (colour * weight[:, :, np.newaxis]).sum((0, 1)) / total if total else colour.mean((0, 1))
        return np.where(weight[:, :, np.newaxis] > 0, colour, mean)
    sums, counts = _halved(colour * weight[:, :, np.newaxis]), _halved(weight[:, :, np.newaxis])
    means: NDArray[np.float32] = np.divide(sums, np.maximum(counts, 1), dtype=np.float32)
    smaller = _spread(means, (counts[:, :, 0] > 0).astype(np.float32))
    around = smaller.repeat(2, 0).repeat(2, 1)[:height, :width]
    return np.where(weight[:, :, np.newaxis] > 0, colour, around)


def _halved(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sums of 2x2 blocks; an odd last row or column is a block of its own."""
    height, width = array.shape[:2]
    padded = np.pad(array, ((0, height % 2), (0, width % 2), (0, 0)))
    halved: NDArray[np.float32] = padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2]
    return halved
