"""From a network's floats to pixels: the last arithmetic of the official code, in as
few passes as numpy allows.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from gpu_worker.photo import Pixels
from gpu_worker.pixels.row_chunks import bands
from shared.errors import Code, PermanentError

BAND_BYTES = 512 * 1024
"""Rows are converted in bands of this size, so that all passes over a band happen in
the core's own cache.
"""

Depth = np.dtype[np.uint8] | np.dtype[np.uint16]

GREY_WEIGHTS = (0.299, 0.587, 0.114)
"""ITU-R BT.601, the weights of OpenCV's RGB2GRAY, which the official code uses for grey
photos.
"""


def to_pixels(planes: NDArray[np.float32], channels: int, dtype: Depth) -> Pixels:
    """(3, h, w) float32, nominally 0..1 -> (h, w, `channels`) uint8 or uint16: clamp,
    scale, round half to even.

    Raises `PermanentError(invalid_output)` for NaN or infinity, never a black picture.
    """
    _, height, width = planes.shape
    pixels = np.empty((height, width, channels), dtype)
    for rows in bands(height, 12 * width, BAND_BYTES):
        band = _clamped(planes[:, rows])
        if channels == 1:
            band = np.tensordot(np.asarray(GREY_WEIGHTS, np.float32), band, 1)[None]
        for channel, level in enumerate(_levels(band, dtype)):
            # One plane at a time: numpy interleaves a transposed array four times
            # slower.
            pixels[rows, :, channel] = level
    return pixels


def shuffled_to_pixels(
    values: NDArray[np.float32], scale: int, channels: int, dtype: Depth
) -> Pixels:
    """(h, w, scale·scale·3 or more) float32 -> (h·scale, w·scale, `channels`),
    otherwise as `to_pixels`.

    A pixel's values are those of the scale x scale pixels in its place, row by row,
    three channels each.
    """
    height, width, _ = values.shape
    places = scale * scale
    pixels = np.empty((height, scale, width, scale * channels), dtype)
    for rows in bands(height, 12 * places * width, BAND_BYTES):
        band = _clamped(values[rows, :, : 3 * places])
        if channels == 1:
            band = band.reshape(-1, width, places, 3) @ np.asarray(
                GREY_WEIGHTS, np.float32
            )
        pixels[rows] = (
            _levels(band, dtype)
            .reshape(-1, width, scale, scale * channels)
            .transpose(0, 2, 1, 3)
        )
    return pixels.reshape(height * scale, width * scale, channels)


def _clamped(values: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(values).all():
        raise PermanentError(
            Code.INVALID_OUTPUT,
            "the network gave NaN or infinity; the photo was not stored",
        )
    return np.clip(values, np.float32(0), np.float32(1))


def _levels(values: NDArray[np.float32], dtype: Depth) -> Pixels:
    """Overwrites `values`."""
    np.multiply(values, np.float32(np.iinfo(dtype).max), out=values)
    return cast(Pixels, np.rint(values, out=values).astype(dtype))
