"""Photographs to restore: samples that scikit-image ships, damaged the way old photos
are. None is kept here.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageFilter

from shared.errors import Code, NotFound
from shared.runtime.installation import how_to_add

ORIENTATION = 0x0112


@dataclass(frozen=True)
class Sample:
    """One upload: its key in the bucket, its bytes, its content type and its metadata."""

    key: str
    data: bytes
    content_type: str
    metadata: dict[str, str] = field(default_factory=dict)


def samples() -> list[Sample]:
    """Four photos of different kinds. Raises `NotFound` when the `demo` extra is not
    installed.
    """
    try:
        from skimage import data
    except ImportError as error:
        detail = f"the demo's photos come with scikit-image; run `make demo` or {how_to_add('demo')}"
        raise NotFound(Code.SOURCE_MISSING, detail) from error
    return [
        _portrait(data.astronaut()),
        _newspaper(data.camera()),
        Sample(
            "incoming/fast/猫 & cat #1.png",
            _png(_shrink(Image.fromarray(data.chelsea()), 226)),
            "image/png",
        ),
        Sample(
            "coffee.webp",
            _webp(_shrink(Image.fromarray(data.coffee()), 120)),
            "image/webp",
            {"workflow": "enhance", "priority": "interactive"},
        ),
    ]


def _portrait(pixels: np.ndarray) -> Sample:
    """A colour portrait as a phone saves it: lying on its side, with the EXIF
    orientation that says so.
    """
    photo = _shrink(Image.fromarray(pixels), 256).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    out = io.BytesIO()
    photo.save(out, "JPEG", quality=60, exif=exif)
    return Sample(
        "incoming/fast/portrait from a phone.jpg", out.getvalue(), "image/jpeg"
    )


def _newspaper(pixels: np.ndarray) -> Sample:
    """A grey scan: soft, noisy and badly compressed."""
    photo = _shrink(Image.fromarray(pixels), 240).filter(ImageFilter.GaussianBlur(0.7))
    noise = np.random.default_rng(7).normal(0, 6, (photo.height, photo.width))
    worn = np.clip(np.asarray(photo) + noise, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(worn).save(out, "JPEG", quality=35)
    return Sample(
        "scans/1943-photographer.jpg",
        out.getvalue(),
        "image/jpeg",
        {"workflow": "fast"},
    )


def _shrink(image: Image.Image, width: int) -> Image.Image:
    return image.resize(
        (width, round(image.height * width / image.width)), Image.Resampling.BOX
    )


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _webp(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "WEBP", quality=80)
    return out.getvalue()
