"""A small picture to look at: sRGB, labelled, at most 512 pixels a side, as WebP."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gpu_worker.codec import profiles
from gpu_worker.codec.png import XMP_KEYWORD
from gpu_worker.codec.watermark import stamp
from gpu_worker.photo import Photo
from gpu_worker.pixels import scratch
from shared.runtime.heartbeat import own
from shared.runtime.settings import LabelSettings

MAX_PX = 512
_QUALITY = 85
_BAND_PIXELS = 2 << 20


class Converter(Protocol):
    """Whoever knows what a profile means."""

    def to_srgb(self, pixels: NDArray[np.uint8], icc: bytes) -> NDArray[np.uint8]:
        """(height, width, 3) in the space of the profile → the same in sRGB."""


def preview(
    photo: Photo,
    settings: LabelSettings,
    text: Mapping[str, str] | None = None,
    converter: Converter | None = None,
) -> bytes:
    """WebP of `photo`, with the visible label if the settings ask for it, and the XMP
    packet of `text`.

    Made before the result itself is stamped, so that no label is drawn over another. A
    photo with a profile for colours needs a `converter`.
    """
    image = _small(photo, MAX_PX, converter)
    if settings.label_preview:
        image = _labelled(image, settings.label_text)
    file = io.BytesIO()
    image.save(
        file,
        "WEBP",
        quality=_QUALITY,
        method=4,
        xmp=(text or {}).get(XMP_KEYWORD, "").encode(),
    )
    return file.getvalue()


def _small(photo: Photo, max_px: int, converter: Converter | None) -> Image.Image:
    """RGB or RGBA in sRGB, no side above `max_px`, in memory that does not grow with
    the photo.
    """
    scale = min(1.0, max_px / max(photo.width, photo.height))
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    # Pillow weighs colours by alpha while it scales, so that what is transparent does
    # not bleed.
    image = _reduced(photo, max(1, int(0.5 / scale))).resize(
        size, Image.Resampling.LANCZOS
    )
    alpha = image.getchannel("A") if image.mode.endswith("A") else None
    opaque = image.convert("L" if image.mode.startswith("L") else "RGB")
    result = _in_srgb(opaque, photo, converter)
    if alpha is not None:
        result.putalpha(alpha)
    return result


def _in_srgb(
    opaque: Image.Image, photo: Photo, converter: Converter | None
) -> Image.Image:
    meta, channels = photo.meta, photo.pixels.shape[2]
    if meta.icc is None or not profiles.fits(meta.icc, channels):
        return opaque.convert("RGB")
    pixels = np.asarray(opaque)
    if channels == 1 and meta.greys is not None:
        return Image.fromarray(
            np.frombuffer(meta.greys, np.uint8).reshape(-1, 3)[pixels]
        )
    if converter is None:
        raise ValueError(
            "a photo with a colour profile needs somebody who knows what that means"
        )
    return Image.fromarray(converter.to_srgb(pixels, meta.icc))


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
    return Image.fromarray(
        np.ascontiguousarray(block[..., 0] if block.shape[2] == 1 else block)
    )


def _labelled(image: Image.Image, text: str) -> Image.Image:
    array = np.array(image)
    alpha = array[..., 3].copy() if image.mode == "RGBA" else None
    photo = Photo(np.ascontiguousarray(array[..., :3]), alpha)
    stamp(photo, text)
    return Image.fromarray(
        photo.pixels if alpha is None else np.dstack((photo.pixels, alpha))
    )
