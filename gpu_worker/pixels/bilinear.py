"""Bilinear resizing of a few rows at a time, with the numbers of `cv2.resize(...,
INTER_LINEAR)` on the whole picture.

OpenCV wants the whole picture as floats; of a large scan that is gigabytes, while any
row of the result depends on two rows of the source. And it is not installed everywhere.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Places = NDArray[np.intp]


def rows(source: NDArray[Any], size: tuple[int, int], band: slice) -> Floats:
    """(h, w, c) of any type -> float32 (n, width, c): rows `band` of it resized to
    `size` (width, height) [px].
    """
    width, height = size
    above, below, share = _between(
        np.arange(band.start, band.stop), source.shape[0], height
    )
    first, last = int(above[0]), int(below[-1]) + 1
    # neighbours share their rows: each is widened once
    if last - first <= 2 * len(above):
        wide = _wide(source[first:last], width)
        top, bottom = wide[above - first], wide[below - first]
    else:
        top, bottom = _wide(source[above], width), _wide(source[below], width)
    return _mixed(top, bottom, share[:, np.newaxis, np.newaxis])


def _wide(lines: NDArray[Any], width: int) -> Floats:
    """(n, w, c) -> float32 (n, width, c)."""
    left, right, share = _between(np.arange(width), lines.shape[1], width)
    return _mixed(_taken(lines, left), _taken(lines, right), share[:, np.newaxis])


def _taken(lines: NDArray[Any], columns: Places) -> Floats:
    return cast(Floats, np.take(lines, columns, axis=1).astype(np.float32, copy=False))


def _mixed(one: Floats, other: Floats, share: Floats) -> Floats:
    """`share` of `other` over `one`, into `one`."""
    one *= 1 - share
    one += other * share
    return one


def _between(places: Places, source: int, target: int) -> tuple[Places, Places, Floats]:
    """For pixels `places` of a line resized from `source` to `target`: both neighbours,
    and the share of the second.
    """
    centres = (places + 0.5) * (source / target) - 0.5
    first = np.floor(centres).astype(np.intp)
    share = (centres - first).astype(np.float32)
    return np.clip(first, 0, source - 1), np.clip(first + 1, 0, source - 1), share
