"""Bilinear resizing of a few rows at a time.

The results equal those of `cv2.resize(..., INTER_LINEAR)` on the whole picture. OpenCV
wants that whole picture as floats, which is gigabytes for a large scan, while any row
of the result depends on two rows of the source. And OpenCV is not installed everywhere.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]


def rows(source: NDArray[Any], size: tuple[int, int], band: slice) -> Floats:
    """Rows `band` of `source`, resized to `size` (width, height) [px].

    (h, w, c) of any type -> float32 (n, width, c).
    """
    width, height = size
    targets = np.arange(band.start, band.stop)
    above, below, share = _neighbours(targets, source.shape[0], height)
    first = int(above[0])
    end = int(below[-1]) + 1
    if end - first <= 2 * len(targets):
        # Results share their source rows: each is widened once.
        wide = _widened(source[first:end], width)
        upper = wide[above - first]
        lower = wide[below - first]
    else:
        upper = _widened(source[above], width)
        lower = _widened(source[below], width)
    return _mix(upper, lower, share[:, np.newaxis, np.newaxis])


def _widened(lines: NDArray[Any], width: int) -> Floats:
    """(n, w, c) -> float32 (n, width, c)."""
    targets = np.arange(width)
    left, right, share = _neighbours(targets, lines.shape[1], width)
    left_pixels = _columns(lines, left)
    right_pixels = _columns(lines, right)
    return _mix(left_pixels, right_pixels, share[:, np.newaxis])


def _columns(lines: NDArray[Any], columns: Indices) -> Floats:
    """A float32 copy of some columns of `lines`, which may be overwritten."""
    chosen = np.take(lines, columns, axis=1)
    return cast(Floats, chosen.astype(np.float32, copy=False))


def _mix(one: Floats, other: Floats, share: Floats) -> Floats:
    """Mix `share` of `other` into `one`, in place: a second result would double the
    memory in work.
    """
    one *= 1 - share
    one += other * share
    return one


def _neighbours(
    targets: Indices,
    source_length: int,
    target_length: int,
) -> tuple[Indices, Indices, Floats]:
    """Both source pixels beside each of `targets`, and the share of the second.

    `targets` are pixels of a line that is resized from `source_length` to
    `target_length`.
    """
    factor = source_length / target_length
    centres = (targets + 0.5) * factor - 0.5
    floors = np.floor(centres).astype(np.intp)
    share = (centres - floors).astype(np.float32)
    last = source_length - 1
    first = np.clip(floors, 0, last)
    second = np.clip(floors + 1, 0, last)
    return first, second, share
