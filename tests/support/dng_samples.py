"""A DNG that is made here: a sensor of four colours over a gradient."""

from __future__ import annotations

import io

import numpy as np
import tifffile

CFA_PATTERN = bytes([0, 1, 1, 2])
WHITE = 4095
IDENTITY = [(1, 1), (0, 1), (0, 1), (0, 1), (1, 1), (0, 1), (0, 1), (0, 1), (1, 1)]
LIGHT = 0.8


def dng(width: int = 96, height: int = 64) -> bytes:
    """Red grows to the right, green downward, blue is the same everywhere; 12 bits."""
    row, column = np.mgrid[:height, :width]
    is_red = (row % 2 == 0) & (column % 2 == 0)
    is_blue = (row % 2 == 1) & (column % 2 == 1)
    green = np.where(is_blue, 0.5, row / height)
    mosaic = np.where(is_red, column / width, green) * WHITE * LIGHT
    matrix = tuple(number for pair in IDENTITY for number in pair)
    tags = [
        (270, "s", 0, "A lake, raw", True),
        (271, "s", 0, "Maker", True),
        (33421, "H", 2, (2, 2), True),
        (33422, "B", 4, CFA_PATTERN, True),
        (50706, "B", 4, bytes([1, 4, 0, 0]), True),
        (50708, "s", 0, "Maker Model", True),
        (50717, "I", 1, WHITE, True),
        (50721, "2i", 9, matrix, True),
        (50728, "2I", 3, (1, 1, 1, 1, 1, 1), True),
        (50778, "H", 1, 21, True),
    ]
    out = io.BytesIO()
    tifffile.imwrite(
        out,
        mosaic.astype(np.uint16),
        photometric=32803,
        metadata=None,
        description=None,
        extratags=tags,
    )
    return out.getvalue()
