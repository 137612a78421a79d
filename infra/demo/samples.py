"""Photographs to restore: four in the public domain (NOTICE names them), damaged
the way old photos are, and one of them as it is.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from importlib.resources import files

import numpy as np
from PIL import Image, ImageFilter

from infra.demo.scratches import scratched

DESCRIPTION, ORIENTATION = 0x010E, 0x0112
COLOUR_MODEL = "ddcolor-modelscope"
"""What the workflow `portrait` colours with."""


@dataclass(frozen=True)
class Sample:
    """One upload: its key in the bucket, its bytes, its content type and its metadata."""

    key: str
    data: bytes
    content_type: str
    metadata: dict[str, str] = field(default_factory=dict)


def samples() -> list[Sample]:
    """The demo's uploads: photos of different kinds and formats, and one that is fine."""
    coffee_options = {"workflow": "enhance", "priority": "interactive"}
    return [
        _portrait(_photo("portrait")),
        _newspaper(_photo("photographer")),
        Sample("incoming/fast/猫 & cat #1.png", _png(_photo("cat")), "image/png"),
        Sample("incoming/auto/fine.png", _png(_photo("portrait")), "image/png"),
        Sample("coffee.webp", _webp(_photo("coffee")), "image/webp", coffee_options),
        _scratched(_photo("cat")),
    ]


def grey_portrait() -> Sample:
    """A portrait without its colours, for `COLOUR_MODEL`."""
    out = io.BytesIO()
    _photo("portrait").convert("L").save(out, "JPEG", quality=85)
    key = "scans/portrait without colours.jpg"
    return Sample(key, out.getvalue(), "image/jpeg", {"workflow": "portrait"})


def _photo(name: str) -> Image.Image:
    """The photo `name` of the folder `photos`."""
    data = files("infra.demo").joinpath("photos", f"{name}.png").read_bytes()
    return Image.open(io.BytesIO(data))


def _portrait(photo: Image.Image) -> Sample:
    """A colour portrait as a phone saves it: lying on its side, with the EXIF
    orientation that says so.
    """
    lying = photo.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    out = io.BytesIO()
    lying.save(out, "JPEG", quality=60, exif=exif)
    return Sample(
        "incoming/fast/portrait from a phone.jpg", out.getvalue(), "image/jpeg"
    )


def _newspaper(photo: Image.Image) -> Sample:
    """A grey scan: soft, noisy and badly compressed, with a caption, of 300 dpi."""
    soft = photo.filter(ImageFilter.GaussianBlur(0.7))
    noise = np.random.default_rng(7).normal(0, 6, (soft.height, soft.width))
    worn = np.clip(np.asarray(soft) + noise, 0, 255).astype(np.uint8)
    exif = Image.Exif()
    exif[DESCRIPTION] = "A photographer at work, 1943"
    out = io.BytesIO()
    image = Image.fromarray(worn)
    image.save(out, "JPEG", quality=35, exif=exif, dpi=(300, 300))
    return Sample(
        "scans/1943-photographer.jpg",
        out.getvalue(),
        "image/jpeg",
        {"workflow": "fast", "formats": "jpeg,labelled"},
    )


def _scratched(photo: Image.Image) -> Sample:
    """A photo that was scratched on purpose, as its name says."""
    size = (2 * photo.width, 2 * photo.height)
    data = _png(scratched(photo.resize(size, Image.Resampling.BICUBIC)))
    return Sample("incoming/repair/cat (scratches made).png", data, "image/png")


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _webp(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "WEBP", quality=80)
    return out.getvalue()
