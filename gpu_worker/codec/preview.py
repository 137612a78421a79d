"""A small picture to look at: sRGB, labelled, at most 512 pixels a side, as WebP."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gpu_worker.codec import colour
from gpu_worker.codec.corner import stamp
from gpu_worker.codec.png import XMP_KEYWORD
from gpu_worker.photo import Photo
from gpu_worker.pixels import scratch
from shared.heartbeat import own
from shared.settings import Settings

MAX_PX = 512
_QUALITY = 85
_BAND_PIXELS = 2 << 20


def preview(photo: Photo, settings: Settings, text: Mapping[str, str] | None = None) -> bytes:
    """WebP of `photo`, with the visible label if the settings ask for it, and the XMP packet of `text`.

    Made before the result itself is stamped, so that no label is drawn over another.
    """
    image = _small(photo, MAX_PX)
    if settings.label_preview:
        image = _labelled(image, settings.label_text)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=_QUALITY, method=4, xmp=(text or {}).get(XMP_KEYWORD, "").encode())
    return file.getvalue()


def _small(photo: Photo, max_px: int) -> Image.Image:
    """RGB or RGBA in sRGB, no side above `max_px`, in memory that does not grow with the photo."""
    scale = min(1.0, max_px / max(photo.width, photo.height))
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    # Pillow weighs colours by alpha while it scales, so that what is transparent does not bleed.
    image = _reduced(photo, max(1, int(0.5 / scale))).resize(size, Image.Resampling.LANCZOS)
    alpha = image.getchannel("A") if image.mode.endswith("A") else None
    opaque = image.convert("L" if image.mode.startswith("L") else "RGB")
    icc, channels = photo.meta.icc, photo.pixels.shape[2]
    convert, _ = colour.to_srgb(opaque.mode, icc if icc and colour.fits(icc, channels) else None)
    result = convert(opaque)
    if alpha is not None:
        result.putalpha(alpha)
    return result


def _reduced(photo: Photo, factor: int) -> Image.Image:
    """Means of `factor` x `factor` boxes in 8 bits, taken band by band."""
    rows = factor * max(1, _BAND_PIXELS // (photo.width * factor))
    bands = []
    for top in range(0, photo.height, rows):
        own().beat()
        bands.append(np.asarray(_eight(photo, top, top + rows).reduce(factor)))
        scratch.drop_rows(photo, top, top + rows)
    return Image.fromarray(np.concatenate(bands))


def _eight(photo: Photo, top: int, bottom: int) -> Image.Image:
    """Rows of `photo` as L, LA, RGB or RGBA."""
    block: NDArray[Any] = photo.pixels[top:bottom]
    if photo.alpha is not None:
        block = np.concatenate((block, photo.alpha[top:bottom, :, None]), axis=2)
    if block.dtype == np.uint16:
        block = (block >> 8).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(block[..., 0] if block.shape[2] == 1 else block))


def _labelled(image: Image.Image, text: str) -> Image.Image:
    array = np.array(image)
    alpha = array[..., 3].copy() if image.mode == "RGBA" else None
    photo = Photo(np.ascontiguousarray(array[..., :3]), alpha)
    stamp(photo, text)
    return Image.fromarray(photo.pixels if alpha is None else np.dstack((photo.pixels, alpha)))
