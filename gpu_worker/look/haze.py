"""How much haze lies over a photo: its darkest parts are bright."""

from __future__ import annotations

import numpy as np

from gpu_worker.look.samples import Floats, luma, reduced
from gpu_worker.photo import Pixels

SIDE_PX = 200
PATCH_PX = 7
DARK = 25
"""Percentile of the dark channel: near things may be clear, and the sky be bright."""
BRIGHT = 99
"""Percentile of the luma that counts as white."""


def haze(pixels: Pixels) -> float:
    """The veil over a photo (h, w, 1 or 3), as a share of its white: 0 with deep
    shadows, 1 where nothing is darker than white.
    """
    small = reduced(pixels, SIDE_PX)
    white = float(np.percentile(luma(small), BRIGHT))
    if white <= 0:
        return 0.0
    dark = _darkest_around(small.min(2))
    return min(1.0, float(np.percentile(dark, DARK)) / white)


def _darkest_around(values: Floats) -> Floats:
    """(h, w): the darkest of the patch around each pixel, cut at the border."""
    height, width = values.shape
    margin = PATCH_PX // 2
    padded = np.pad(values, margin, constant_values=np.inf)
    # First along the columns, then along the rows.
    shifts = range(PATCH_PX)
    of_columns = np.minimum.reduce([padded[top : top + height] for top in shifts])
    darkest: Floats = np.minimum.reduce(
        [of_columns[:, left : left + width] for left in shifts]
    )
    return darkest
