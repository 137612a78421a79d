"""Colours under transparent pixels.

What lies under a fully transparent pixel is arbitrary, often black, and a network would
smear it into the visible edge as a dark fringe. So it is replaced by the nearest
visible colours, spread outward level by level of an image pyramid. Visible pixels keep
their exact values.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gpu_worker.photo import Pixels
from gpu_worker.pixels.row_chunks import bands

MIN_SIDE_PX = 4


def bleed(pixels: Pixels, alpha: Pixels) -> Pixels:
    """(h, w, c) and (h, w) -> pixels with invented colours where alpha is 0. The input
    is not changed.

    Floats are held at half the size and below only: a big photo is read and filled in
    bands.
    """
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return pixels
    halves = [_weighed(pixels[rows], alpha[rows]) for rows in _even_bands(pixels)]
    sums, counts = (
        np.concatenate([half[0] for half in halves]),
        np.concatenate([half[1] for half in halves]),
    )
    around = _filled(sums, counts)
    result = pixels.copy()
    for rows in _even_bands(pixels):
        colours = np.rint(
            _doubled(around[rows.start // 2 : (rows.stop + 1) // 2], hidden[rows].shape)
        )
        np.copyto(
            result[rows],
            colours.astype(pixels.dtype),
            where=hidden[rows][:, :, np.newaxis],
        )
    return result


def _even_bands(pixels: Pixels) -> Iterator[slice]:
    height, width, channels = pixels.shape
    for pair in bands((height + 1) // 2, 2 * width * channels * 8):
        yield slice(2 * pair.start, min(2 * pair.stop, height))


def _weighed(
    pixels: Pixels, alpha: Pixels
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sums over 2x2 blocks of colour times weight, and of weight: a hardly visible
    pixel hardly counts.
    """
    weights = alpha.astype(np.float32)[:, :, np.newaxis] / np.float32(
        np.iinfo(alpha.dtype).max
    )
    return _halved(pixels * weights), _halved(weights)


def _filled(
    sums: NDArray[np.float32], counts: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The mean colour of every block; where a block has no weight, the colours around,
    from the level above.
    """
    colour: NDArray[np.float32] = np.divide(
        sums, counts, out=np.zeros_like(sums), where=counts > 0
    )
    if min(colour.shape[:2]) < MIN_SIDE_PX or counts.all():
        around = sums.sum((0, 1)) / counts.sum()
    else:
        weights = counts / np.float32(4)
        around = _doubled(
            _filled(_halved(colour * weights), _halved(weights)), colour.shape
        )
    return np.where(counts > 0, colour, around)


def _doubled(array: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    return array.repeat(2, 0).repeat(2, 1)[: shape[0], : shape[1]]


def _halved(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sums of 2x2 blocks; an odd last row or column is a block of its own."""
    height, width = array.shape[:2]
    padded = np.pad(array, ((0, height % 2), (0, width % 2), (0, 0)))
    halved: NDArray[np.float32] = (
        padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2]
    )
    return halved
