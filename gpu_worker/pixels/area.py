"""Reduction by areas: each pixel of the result is the mean of the area that it covers.

The results equal those of `cv2.resize(..., INTER_AREA)`; OpenCV is not needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from gpu_worker.photo import Pixels
from gpu_worker.pixels import scratch
from gpu_worker.pixels.row_chunks import bands

Floats = NDArray[np.float32]

BYTES_PER_SAMPLE = 12
"""Working memory for each sample of a source row, roughly."""


@dataclass(frozen=True)
class _Coverage:
    """What each pixel of a reduced line covers of the source line.

    `first`: (target,), the first source pixel that is covered. `shares`: (target,
    reach), how much each covered pixel counts; a row sums to 1, and the share of a
    pixel beyond the border is 0.
    """

    first: NDArray[np.intp]
    shares: Floats

    @classmethod
    def of(cls, source: int, target: int) -> _Coverage:
        """The coverage of a line of `source` pixels that is reduced to `target`."""
        factor = source / target
        edges = np.arange(target + 1) * factor
        left_edges = edges[:-1, np.newaxis]
        right_edges = edges[1:, np.newaxis]

        floors = np.floor(edges[:-1]).astype(np.intp)
        first = np.minimum(floors, source - 1)
        reach = int(np.ceil(factor)) + 1
        covered = first[:, np.newaxis] + np.arange(reach)

        starts = np.maximum(covered, left_edges)
        ends = np.minimum(covered + 1, right_edges)
        overlap = np.clip(ends - starts, 0, None)
        overlap *= covered < source
        total = overlap.sum(1, keepdims=True)
        shares = overlap / total
        return cls(first, shares.astype(np.float32))


def reduce(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Reduce a picture (h, w, c) to `size` (width, height) [px]; the dtype stays.

    No side may become longer. A few rows are in work at a time.
    """
    width, height = size
    source_height, source_width, channels = pixels.shape
    # OpenCV rounds ties up when both sides are halved, and to even otherwise.
    is_half = (source_width, source_height) == (2 * width, 2 * height)
    canvas = np.empty((height, width, channels), pixels.dtype)
    for band, values in _banded(pixels, size):
        canvas[band] = (
            np.floor(values + np.float32(0.5)) if is_half else np.rint(values)
        )
    return cast(Pixels, canvas)


def means(picture: Floats, size: tuple[int, int]) -> Floats:
    """As `reduce`, of floats, which are not rounded."""
    width, height = size
    canvas = np.empty((height, width, picture.shape[2]), np.float32)
    for band, values in _banded(picture, size):
        canvas[band] = values
    return canvas


def _banded(
    picture: Pixels | Floats, size: tuple[int, int]
) -> Iterator[tuple[slice, Floats]]:
    """The reduced picture, a few rows at a time."""
    width, height = size
    source_height, source_width, channels = picture.shape
    rows = _Coverage.of(source_height, height)
    columns = _Coverage.of(source_width, width)
    row_bytes = source_width * channels * BYTES_PER_SAMPLE
    for band in bands(height, row_bytes):
        lines = _fewer_rows(picture, rows, band)
        yield band, _fewer_columns(lines, columns)


def _fewer_rows(pixels: Pixels | Floats, rows: _Coverage, band: slice) -> Floats:
    """(h, w, c) -> float32 (n, w, c): rows `band` of the picture reduced in height."""
    _, width, channels = pixels.shape
    reach = rows.shares.shape[1]
    lines = np.empty((band.stop - band.start, width * channels), np.float32)
    for number, row in enumerate(range(band.start, band.stop)):
        start = rows.first[row]
        covered = pixels[start : start + reach]
        shares = rows.shares[row, : len(covered)]
        flat = covered.reshape(len(covered), -1)
        lines[number] = shares @ flat.astype(np.float32)
        scratch.drop(covered)
    return lines.reshape(-1, width, channels)


def _fewer_columns(lines: Floats, columns: _Coverage) -> Floats:
    """(n, w, c) -> (n, width, c): lines reduced in width.

    One covered column after the other is added, for all pixels at once.
    """
    count, width, channels = lines.shape
    target, reach = columns.shares.shape
    narrow = np.zeros((count, target, channels), np.float32)
    for offset in range(reach):
        column = np.minimum(columns.first + offset, width - 1)
        share = columns.shares[:, offset, np.newaxis]
        narrow += lines[:, column] * share
    return narrow
