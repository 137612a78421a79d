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
_METHOD = 2
"""The encoder's effort, 0 to 6: half the time of its own default, 4, for some 4 % more
bytes. A preview is made of every photo.
"""
_BAND_PIXELS = 2 << 20


class Converter(Protocol):
    """Converts pixels from a colour profile to sRGB."""

    def to_srgb(self, pixels: NDArray[np.uint8], icc: bytes) -> NDArray[np.uint8]:
        """(height, width, 3) in the space of the profile → the same in sRGB."""


def preview(
    photo: Photo,
    settings: LabelSettings,
    text: Mapping[str, str] | None = None,
    converter: Converter | None = None,
) -> bytes:
    """WebP of `photo`, with the visible label if the settings want it, and the XMP
    packet of `text`.

    Made before the result itself is stamped, so that no label is drawn over another. A
    photo with a profile for colours needs a `converter`.
    """
    image = _small(photo, MAX_PX, converter)
    if settings.label_preview:
        image = labelled(image, settings.label_text)
    xmp = (text or {}).get(XMP_KEYWORD, "")
    file = io.BytesIO()
    image.save(file, "WEBP", quality=_QUALITY, method=_METHOD, xmp=xmp.encode())
    return file.getvalue()


def _small(photo: Photo, max_px: int, converter: Converter | None) -> Image.Image:
    """RGB or RGBA in sRGB, no side above `max_px`, in memory that does not grow with
    the photo.
    """
    scale = min(1.0, max_px / max(photo.width, photo.height))
    width = max(1, round(photo.width * scale))
    height = max(1, round(photo.height * scale))
    factor = max(1, int(0.5 / scale))
    # Pillow weighs colours by alpha while it scales, so that what is transparent does
    # not bleed.
    image = _reduced(photo, factor)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    is_grey = image.mode.startswith("L")
    opaque = image.convert("L" if is_grey else "RGB")
    result = _in_srgb(opaque, photo, converter)
    if image.mode.endswith("A"):
        result.putalpha(image.getchannel("A"))
    return result


def _in_srgb(
    opaque: Image.Image,
    photo: Photo,
    converter: Converter | None,
) -> Image.Image:
    icc = photo.meta.icc
    greys = photo.meta.greys
    channels = photo.pixels.shape[2]
    if icc is None or not profiles.fits(icc, channels):
        return opaque.convert("RGB")
    pixels = np.asarray(opaque)
    if channels == 1 and greys is not None:
        table = np.frombuffer(greys, np.uint8).reshape(-1, 3)
        return Image.fromarray(table[pixels])
    if converter is None:
        raise ValueError("a photo with a colour profile needs a converter")
    return Image.fromarray(converter.to_srgb(pixels, icc))


def _reduced(photo: Photo, factor: int) -> Image.Image:
    """Means of `factor` x `factor` boxes in 8 bits, taken band by band."""
    box_rows = max(1, _BAND_PIXELS // (photo.width * factor))
    rows = factor * box_rows
    bands = []
    for top in range(0, photo.height, rows):
        own().beat()
        band = _eight_bits(photo, top, top + rows)
        means = band.reduce(factor) if factor > 1 else band
        bands.append(np.asarray(means))
        scratch.drop_rows(photo, top, top + rows)
    return Image.fromarray(np.concatenate(bands))


def _eight_bits(photo: Photo, top: int, bottom: int) -> Image.Image:
    """Rows of `photo` as L, LA, RGB or RGBA."""
    block: NDArray[Any] = photo.pixels[top:bottom]
    if photo.alpha is not None:
        alpha = photo.alpha[top:bottom, :, np.newaxis]
        block = np.concatenate((block, alpha), axis=2)
    if block.dtype == np.uint16:
        block = (block >> 8).astype(np.uint8)
    if block.shape[2] == 1:
        block = block[..., 0]
    return Image.fromarray(np.ascontiguousarray(block))


def labelled(image: Image.Image, text: str) -> Image.Image:
    array = np.array(image)
    colours = np.ascontiguousarray(array[..., :3])
    if image.mode != "RGBA":
        stamp(Photo(colours), text)
        return Image.fromarray(colours)
    alpha = array[..., 3].copy()
    stamp(Photo(colours, alpha), text)
    return Image.fromarray(np.dstack((colours, alpha)))
