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
from gpu_worker.photo import Metadata, Photo, Pixels
from gpu_worker.pixels import scratch
from gpu_worker.pixels.row_chunks import bands
from shared.runtime.settings import ScratchSettings

LEVELS = 256
SAME = 1
"""Curves that differ by no more than this level are the same: profiles of sRGB differ
in their rounding.
"""
NOTE = "the tones of its colour profile were converted to sRGB before it was coloured"

Curve = NDArray[np.float64]


def in_srgb(photo: Photo, settings: ScratchSettings) -> Photo:
    """`photo` with the tones of sRGB, and without a profile where it had another; the
    same photo when it is sRGB.
    """
    if photo.meta.icc is None:
        return photo
    channels = photo.pixels.shape[2]
    curve = _curve(photo.meta, channels)
    without_profile = photo.meta.with_icc(None)
    if _is_srgb(curve):
        # A grey profile does not fit the RGB picture that this one becomes.
        return photo if channels == 3 else photo.with_(meta=without_profile)
    pixels = _converted(photo, curve, settings)
    notes = (*photo.notes, NOTE)
    return photo.with_(pixels=pixels, meta=without_profile, notes=notes)


def _curve(meta: Metadata, channels: int) -> Curve:
    """(256,): the sRGB level, 0..255, of each grey of the profile."""
    if meta.greys is None or not profiles.fits(meta.icc, channels):
        return np.arange(LEVELS, dtype=np.float64)
    greys = np.frombuffer(meta.greys, np.uint8).reshape(LEVELS, 3)
    return cast(Curve, greys.mean(1, dtype=np.float64))


def _is_srgb(curve: Curve) -> bool:
    difference = np.abs(curve - np.arange(LEVELS))
    return bool(difference.max() <= SAME)


def _converted(photo: Photo, curve: Curve, settings: ScratchSettings) -> Pixels:
    source = photo.pixels
    table = _table(curve, source)
    pixels = scratch.picture(source.shape, source.dtype, settings)
    row_bytes = source[0].nbytes
    for band in bands(photo.height, row_bytes):
        pixels[band] = table[source[band]]
        scratch.drop(pixels[band])
    return pixels


def _table(curve: Curve, pixels: Pixels) -> Pixels:
    """The new level of every level that the type of `pixels` has."""
    top = np.iinfo(pixels.dtype).max
    known = np.linspace(0, top, LEVELS)
    values = curve / (LEVELS - 1) * top
    levels = np.interp(np.arange(top + 1), known, values)
    return cast(Pixels, np.rint(levels).astype(pixels.dtype))
