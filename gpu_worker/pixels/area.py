"""Reduction by areas, with the numbers of `cv2.resize(..., INTER_AREA)`: each pixel is
the mean of what it covers.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from gpu_worker.photo import Pixels
from gpu_worker.pixels import scratch
from gpu_worker.pixels.row_chunks import bands

Floats = NDArray[np.float32]


def reduce(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """(h, w, c) -> `size` (width, height) [px], neither side longer than before; same
    dtype.

    A few rows of the picture are in work at a time.
    """
    width, height = size
    source_height, source_width, channels = pixels.shape
    canvas = np.empty((height, width, channels), pixels.dtype)
    # OpenCV rounds ties up there, else to even
    halved = (source_width, source_height) == (2 * width, 2 * height)
    first_column, columns = _shares(source_width, width)
    first_row, shares = _shares(source_height, height)
    for band in bands(height, source_width * channels * 12):
        lines = np.empty((band.stop - band.start, source_width * channels), np.float32)
        for number, row in enumerate(range(band.start, band.stop)):
            covered = pixels[first_row[row] : first_row[row] + shares.shape[1]]
            lines[number] = shares[row, : len(covered)] @ covered.reshape(
                len(covered), -1
            ).astype(np.float32)
            scratch.drop(covered)
        across = lines.reshape(-1, source_width, channels)
        means = _narrowed(across, first_column, columns)
        canvas[band] = np.floor(means + np.float32(0.5)) if halved else np.rint(means)
    return cast(Pixels, canvas)


def _narrowed(lines: Floats, first: NDArray[np.intp], shares: Floats) -> Floats:
    """(n, w, c) -> (n, width, c): one covered column after another, of all pixels at
    once.
    """
    narrow = np.zeros((lines.shape[0], len(first), lines.shape[2]), np.float32)
    for step in range(shares.shape[1]):
        # beyond the border the share is 0
        column = np.minimum(first + step, lines.shape[1] - 1)
        narrow += lines[:, column] * shares[:, step, np.newaxis]
    return narrow


def _shares(source: int, target: int) -> tuple[NDArray[np.intp], Floats]:
    """For each of `target` pixels of a line: the first of `source` pixels that it
    covers, and the share of each.
    """
    edges = np.arange(target + 1) * (source / target)
    first = np.minimum(np.floor(edges[:-1]).astype(np.intp), source - 1)
    covered = first[:, np.newaxis] + np.arange(int(np.ceil(source / target)) + 1)
    starts, ends = (
        np.maximum(covered, edges[:-1, np.newaxis]),
        np.minimum(covered + 1, edges[1:, np.newaxis]),
    )
    overlap = np.clip(ends - starts, 0, None) * (covered < source)
    return first, (overlap / overlap.sum(1, keepdims=True)).astype(np.float32)
