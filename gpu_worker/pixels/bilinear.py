"""Bilinear resizing of a few rows at a time, with the numbers of `cv2.resize(..., INTER_LINEAR)` on the whole picture.

OpenCV wants the whole picture as floats; of a large scan that is gigabytes, while any row of the result depends on two
rows of the source.
"""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray


def rows(source: NDArray[Any], size: tuple[int, int], band: slice) -> NDArray[np.float32]:
    """(h, w, c) of any type -> float32 (n, width, c): rows `band` of it resized to `size` (width, height) [px]."""
    width, height = size
    centres = (np.arange(band.start, band.stop) + 0.5) * (source.shape[0] / height) - 0.5
    above = np.floor(centres).astype(np.intp)
    share = (centres - above).astype(np.float32)[:, np.newaxis, np.newaxis]
    top, bottom = (_wide(source, np.clip(index, 0, source.shape[0] - 1), width) for index in (above, above + 1))
    mixed: NDArray[np.float32] = top * (1 - share) + bottom * share
    return mixed


def _wide(source: NDArray[Any], index: NDArray[np.intp], width: int) -> NDArray[np.float32]:
    """Rows `index` of `source`, resized to `width`; their number stays, so OpenCV leaves them unmixed."""
    lines = source[index].astype(np.float32)
    resized = cv2.resize(lines, (width, len(index)), interpolation=cv2.INTER_LINEAR)
    return cast(NDArray[np.float32], resized).reshape(len(index), width, -1)
