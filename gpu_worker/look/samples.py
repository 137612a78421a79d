"""The parts of a photo that the look reads: a reduced picture and windows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gpu_worker.engines.quantise import GREY_WEIGHTS
from gpu_worker.photo import Pixels, top_level
from gpu_worker.pixels import area

WINDOW_PX = 128
"""Side of a window: a multiple of the 8 pixels of a JPEG block, at multiples of 8."""
BLOCK_PX = 8
WINDOWS_ACROSS = 6
"""Most windows in a row and in a column: together they hold 0.6 megapixels."""
READ_PX = 1024
"""A longer side is read with gaps before it is reduced."""
WHITE = np.float32(255)

Floats = NDArray[np.float32]


def reduced(pixels: Pixels, side: int) -> Floats:
    """(h, w, c) -> float32 levels 0..255 with sides of at most `side` pixels."""
    height, width, _ = pixels.shape
    gap = max(1, max(height, width) // READ_PX)
    read = pixels[::gap, ::gap]
    if max(read.shape[:2]) <= side:
        return levels(read)
    return levels(area.reduce(read, fitting(read, side)))


def fitting(pixels: Pixels, side: int) -> tuple[int, int]:
    """The size (width, height) of a picture whose sides have at most `side` pixels."""
    height, width, _ = pixels.shape
    factor = min(1.0, side / max(height, width))
    return max(1, round(width * factor)), max(1, round(height * factor))


def windows(pixels: Pixels) -> Iterator[Floats]:
    """The luma (h, w) of windows spread evenly over the photo, float32 0..255."""
    height, width, _ = pixels.shape
    for top in _starts(height):
        for left in _starts(width):
            window = pixels[top : top + WINDOW_PX, left : left + WINDOW_PX]
            yield luma(levels(window))


def _starts(length: int) -> list[int]:
    """Where windows begin along a side of `length` pixels, without overlap."""
    count = min(WINDOWS_ACROSS, max(1, length // WINDOW_PX))
    room = max(0, length - WINDOW_PX)
    places = np.linspace(0, room, count).astype(int)
    aligned = places // BLOCK_PX * BLOCK_PX
    return [int(start) for start in aligned]


def levels(pixels: Pixels) -> Floats:
    """Any depth -> float32 0..255."""
    scaled: Floats = pixels.astype(np.float32) * (WHITE / top_level(pixels.dtype))
    return scaled


def luma(picture: Floats) -> Floats:
    """(h, w, 1 or 3) -> (h, w)."""
    if picture.shape[2] == 1:
        return picture[:, :, 0]
    weighted: Floats = picture @ np.asarray(GREY_WEIGHTS, np.float32)
    return weighted
