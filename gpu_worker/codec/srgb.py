"""The tones of a photo brought to sRGB, for steps whose arithmetic is defined there.

Only the grey axis of the profile is used, as a curve: the photos that need it are grey,
or are about to lose their colours. So 16 bits stay 16 bits, which Pillow's own
conversion cannot do.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from gpu_worker.codec import profiles
from gpu_worker.photo import Metadata, Photo
from gpu_worker.pixels import scratch
from gpu_worker.pixels.row_chunks import bands
from shared.runtime.settings import ScratchSettings

LEVELS = 256
SAME = 1
"""Curves that differ by no more than this level are the same: profiles of sRGB differ
in their rounding.
"""


def in_srgb(photo: Photo, settings: ScratchSettings) -> Photo:
    """`photo` with the tones of sRGB, and without a profile where it had another; the
    same photo when it is sRGB.
    """
    channels = photo.pixels.shape[2]
    if photo.meta.icc is None:
        return photo
    curve = _curve(photo.meta, channels)
    if np.abs(curve - np.arange(LEVELS)).max() <= SAME:
        # A grey profile does not fit the RGB picture that this one becomes.
        return photo if channels == 3 else photo.with_(meta=photo.meta.with_icc(None))
    top = np.iinfo(photo.pixels.dtype).max
    table = np.interp(
        np.arange(top + 1), np.linspace(0, top, LEVELS), curve / (LEVELS - 1) * top
    )
    table = np.rint(table).astype(photo.pixels.dtype)
    pixels = scratch.allocate(photo.pixels.shape, photo.pixels.dtype, settings)
    for band in bands(photo.height, photo.pixels[0].nbytes):
        pixels[band] = table[photo.pixels[band]]
        scratch.drop(pixels[band])
    note = (
        "the tones of its colour profile were converted to sRGB before it was coloured"
    )
    return photo.with_(
        pixels=pixels, meta=photo.meta.with_icc(None), notes=(*photo.notes, note)
    )


def _curve(meta: Metadata, channels: int) -> NDArray[np.float64]:
    """What the 256 greys of the profile are in sRGB, 0..255."""
    if meta.greys is None or not profiles.fits(meta.icc, channels):
        return np.arange(LEVELS, dtype=np.float64)
    greys = np.frombuffer(meta.greys, np.uint8).reshape(LEVELS, 3)
    return cast(NDArray[np.float64], greys.mean(1, dtype=np.float64))
