"""A small picture to look at: sRGB, labelled, at most 512 pixels a side, as WebP."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gpu_worker.codec import colour
from gpu_worker.codec.png import XMP_KEYWORD
from gpu_worker.codec.stamp import stamp
from gpu_worker.photo import Photo, Pixels
from shared.settings import Settings

MAX_PX = 512
_QUALITY = 85
_BAND_BYTES = 8 << 20


def preview(photo: Photo, settings: Settings, text: Mapping[str, str] | None = None) -> bytes:
    """WebP of `photo`, with the visible label if the settings ask for it, and the XMP packet of `text`."""
    image = _small(photo, MAX_PX)
    if settings.label_preview:
        image = _labelled(image, settings.label_text)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=_QUALITY, method=4, xmp=(text or {}).get(XMP_KEYWORD, "").encode())
    return file.getvalue()


def _small(photo: Photo, max_px: int) -> Image.Image:
    """RGB or RGBA in sRGB, no side above `max_px`, in memory that does not grow with the photo."""
    factor = max(1, max(photo.width, photo.height) // (2 * max_px))
    pixels = _reduced(photo.pixels, factor)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    scale = min(1.0, max_px / max(photo.width, photo.height))
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    image = image.resize(size, Image.Resampling.LANCZOS)
    icc = photo.meta.icc if photo.meta.icc and colour.fits(photo.meta.icc, pixels.shape[2]) else None
    image = colour.to_srgb(image.mode, icc)[0](image)
    if photo.alpha is not None:
        alpha = Image.fromarray(_reduced(photo.alpha[..., None], factor)[..., 0])
        image.putalpha(alpha.resize(size, Image.Resampling.LANCZOS))
    return image


def _reduced(array: Pixels, factor: int) -> NDArray[np.uint8]:
    """Means of `factor` x `factor` boxes, 8 bits deep, taken band by band: (height, width, channels)."""
    height, width, channels = array.shape
    rows = factor * max(1, _BAND_BYTES // (width * channels * factor))
    bands = [_mean(array[top : top + rows], factor) for top in range(0, height, rows)]
    return np.concatenate(bands)


def _mean(band: Pixels, factor: int) -> NDArray[np.uint8]:
    eight = (band >> 8).astype(np.uint8) if band.dtype == np.uint16 else band
    planes = [Image.fromarray(np.ascontiguousarray(eight[..., c])).reduce(factor) for c in range(band.shape[2])]
    return np.stack([np.asarray(plane) for plane in planes], axis=2)


def _labelled(image: Image.Image, text: str) -> Image.Image:
    array = np.array(image)
    alpha = array[..., 3].copy() if image.mode == "RGBA" else None
    photo = Photo(np.ascontiguousarray(array[..., :3]), alpha)
    stamp(photo, text)
    return Image.fromarray(photo.pixels if alpha is None else np.dstack((photo.pixels, alpha)))
