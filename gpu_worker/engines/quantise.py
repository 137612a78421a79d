"""From a network's floats to pixels: the last arithmetic of the official code, in as
few passes as numpy allows.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from gpu_worker.photo import Depth, Pixels, top_level
from gpu_worker.pixels.row_chunks import bands
from shared.errors import Code, PermanentError

BAND_BYTES = 512 * 1024
"""Rows are converted in bands of this size, so that all passes over a band happen in
the core's own cache.
"""
COLOUR_BYTES = 12
"""Three floats."""

Floats = NDArray[np.float32]

GREY_WEIGHTS = (0.299, 0.587, 0.114)
"""ITU-R BT.601, the weights of OpenCV's RGB2GRAY, which the official code uses for grey
photos.
"""


def to_pixels(planes: Floats, channels: int, dtype: Depth) -> Pixels:
    """(3, h, w) float32, nominally 0..1 -> (h, w, `channels`) uint8 or uint16: clamp,
    scale, round half to even.

    Raises `PermanentError(invalid_output)` for NaN or infinity, never a black picture.
    """
    _, height, width = planes.shape
    pixels = np.empty((height, width, channels), dtype)
    row_bytes = COLOUR_BYTES * width
    weights = np.asarray(GREY_WEIGHTS, np.float32)
    for rows in bands(height, row_bytes, BAND_BYTES):
        band = _clamped(planes[:, rows])
        if channels == 1:
            grey = np.tensordot(weights, band, 1)
            band = grey[np.newaxis]
        levels = _to_levels(band, dtype)
        # One plane at a time: numpy interleaves a transposed array four times slower.
        for channel, plane in enumerate(levels):
            pixels[rows, :, channel] = plane
    return pixels


def shuffled_to_pixels(
    values: Floats,
    scale: int,
    channels: int,
    dtype: Depth,
) -> Pixels:
    """(h, w, scale·scale·3 or more) float32 -> (h·scale, w·scale, `channels`),
    otherwise as `to_pixels`.

    A pixel's values are those of the scale x scale pixels in its place, row by row,
    three channels each.
    """
    height, width, _ = values.shape
    places = scale * scale
    pixels = np.empty((height, scale, width, scale * channels), dtype)
    row_bytes = COLOUR_BYTES * places * width
    weights = np.asarray(GREY_WEIGHTS, np.float32)
    for rows in bands(height, row_bytes, BAND_BYTES):
        band = _clamped(values[rows, :, : 3 * places])
        if channels == 1:
            colours = band.reshape(-1, width, places, 3)
            band = colours @ weights
        levels = _to_levels(band, dtype)
        by_place = levels.reshape(-1, width, scale, scale * channels)
        pixels[rows] = by_place.transpose(0, 2, 1, 3)
    return pixels.reshape(height * scale, width * scale, channels)


def _clamped(values: Floats) -> Floats:
    """A copy, held between 0 and 1."""
    if not np.isfinite(values).all():
        detail = "the network gave NaN or infinity; the photo was not stored"
        raise PermanentError(Code.INVALID_OUTPUT, detail)
    return np.clip(values, np.float32(0), np.float32(1))


def _to_levels(values: Floats, dtype: Depth) -> Pixels:
    """Integer levels of `values`, which are overwritten: a band stays in the cache."""
    top = top_level(dtype)
    np.multiply(values, top, out=values)
    np.rint(values, out=values)
    return cast(Pixels, values.astype(dtype))
