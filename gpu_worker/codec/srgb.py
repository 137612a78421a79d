"""The tones of a photo brought to sRGB, for steps whose arithmetic is defined there.

Only the grey axis of the profile is used, as a curve: the photos that need it are grey, or are about to lose their
colours. So 16 bits stay 16 bits, which Pillow's own conversion cannot do.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gpu_worker.codec import colour
from gpu_worker.photo import Photo
from gpu_worker.pixels import scratch
from gpu_worker.pixels.bands import bands
from shared.settings import Settings

LEVELS = 256
SAME = 1
"""Curves that differ by no more than this level are the same: profiles of sRGB differ in their rounding."""


def in_srgb(photo: Photo, settings: Settings) -> Photo:
    """`photo` with the tones of sRGB, and without a profile where it had another; the same photo when it is sRGB."""
    icc, channels = photo.meta.icc, photo.pixels.shape[2]
    if icc is None:
        return photo
    curve = _curve(icc, channels)
    if np.abs(curve - np.arange(LEVELS)).max() <= SAME:
        # A grey profile does not fit the RGB picture that this one becomes.
        return photo if channels == 3 else photo.with_(meta=photo.meta.with_icc(None))
    top = np.iinfo(photo.pixels.dtype).max
    table = np.interp(np.arange(top + 1), np.linspace(0, top, LEVELS), curve / (LEVELS - 1) * top)
    table = np.rint(table).astype(photo.pixels.dtype)
    pixels = scratch.allocate(photo.pixels.shape, photo.pixels.dtype, settings)
    for band in bands(photo.height, photo.pixels[0].nbytes):
        pixels[band] = table[photo.pixels[band]]
        scratch.drop(pixels[band])
    note = "the tones of its colour profile were converted to sRGB before it was coloured"
    return photo.with_(pixels=pixels, meta=photo.meta.with_icc(None), notes=(*photo.notes, note))


def _curve(icc: bytes, channels: int) -> NDArray[np.float64]:
    """What the 256 greys of the profile are in sRGB, 0..255."""
    ramp = Image.fromarray(np.arange(LEVELS, dtype=np.uint8)[np.newaxis])
    mode = "L" if channels == 1 else "RGB"
    convert, _ = colour.to_srgb(mode, icc if colour.fits(icc, channels) else None)
    greys = np.asarray(convert(ramp.convert(mode)), np.float64)
    return cast(NDArray[np.float64], greys[0].mean(1))
