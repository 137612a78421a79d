"""From a network's floats to pixels: the last arithmetic of the official code, in as few passes as numpy allows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gpu_worker.photo import Pixels
from shared.errors import Code, PermanentError

BAND_BYTES = 512 * 1024
"""Rows are converted in bands of this size, so that all passes over a band happen in the core's own cache."""

GREY_WEIGHTS = (0.299, 0.587, 0.114)
"""ITU-R BT.601, the weights of OpenCV's RGB2GRAY, which the official code uses for grey photos."""


def to_pixels(planes: NDArray[np.float32], channels: int, dtype: np.dtype[np.uint8] | np.dtype[np.uint16]) -> Pixels:
    """(3, h, w) float32, nominally 0..1 -> (h, w, `channels`) uint8 or uint16: clamp, scale, round half to even.

    Raises `PermanentError(invalid_output)` for NaN or infinity, never a black picture.
    """
    _, height, width = planes.shape
    pixels = np.empty((height, width, channels), dtype)
    top = np.float32(np.iinfo(dtype).max)
    rows = max(1, BAND_BYTES // (12 * width))
    buffer = np.empty((3, rows, width), np.float32)
    for start in range(0, height, rows):
        source = planes[:, start : start + rows]
        band = buffer[:, : source.shape[1]]
        if not np.isfinite(source).all():
            raise PermanentError(Code.INVALID_OUTPUT, "the network gave NaN or infinity; the photo was not stored")
        np.clip(source, 0.0, 1.0, out=band)
        if channels == 1:
            band = np.tensordot(np.asarray(GREY_WEIGHTS, np.float32), band, 1)[None]
        np.multiply(band, top, out=band)
        np.rint(band, out=band)
        for channel, level in enumerate(band.astype(dtype)):
            # One plane at a time: numpy interleaves a transposed array four times slower.
            pixels[start : start + rows, :, channel] = level
    return pixels
