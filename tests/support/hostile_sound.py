"""Small sound photos, from which the hostile files are made, and ways to put something
into them.
"""

from __future__ import annotations

import io
import struct
from functools import cache

import numpy as np
from PIL import Image

from gpu_worker.codec.colour import srgb
from tests.support.codec_samples import HEIC, png, saved, tiff
from tests.support.pictures import photo_like
from tests.support.psd_samples import psd, resource


@cache
def sound() -> dict[str, bytes]:
    """One small sound photo of every accepted layout that matters."""
    picture = photo_like(24, 32)
    alpha = np.dstack((picture, picture[..., 0]))
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x8769] = (
        "Maker",
        6,
        {0x829A: 0.01, 0x9003: "1999:12:31 23:59:59"},
    )
    icc = (
        Image.open(io.BytesIO(saved(picture, "PNG"))).info.get("icc_profile") or srgb()
    )
    return {
        "photo.jpg": saved(
            picture, "JPEG", exif=exif.tobytes(), icc_profile=icc, comment="comment"
        ),
        "progressive.jpg": saved(
            picture, "JPEG", progressive=True, restart_marker_blocks=1
        ),
        "cmyk.jpg": saved(Image.fromarray(picture).convert("CMYK"), "JPEG"),
        "photo.png": saved(alpha, "PNG", exif=exif.tobytes(), icc_profile=icc),
        "palette.png": saved(Image.fromarray(picture).convert("P"), "PNG"),
        "deep.png": png(photo_like(12, 16, 3, 16)),
        "photo.webp": saved(picture, "WEBP", exif=exif.tobytes(), icc_profile=icc),
        "lossless.webp": saved(alpha, "WEBP", lossless=True),
        "photo.tif": saved(picture, "TIFF", description="words"),
        "lzw.tif": saved(picture, "TIFF", compression="tiff_lzw"),
        "jpeg.tif": saved(picture, "TIFF", compression="jpeg"),
        "deep.tif": tiff(
            photo_like(24, 32, 3, 16),
            photometric="rgb",
            compression="zlib",
            rowsperstrip=4,
        ),
        "photo.bmp": saved(picture, "BMP"),
        "palette.bmp": saved(Image.fromarray(picture).convert("P"), "BMP"),
        "photo.gif": saved(
            Image.fromarray(picture).convert("P"), "GIF", comment=b"comment"
        ),
        "photo.avif": saved(picture, "AVIF", speed=10),
        "photo.heic": HEIC,
        "photo.jp2": saved(picture, "JPEG2000"),
        "photo.psd": psd(picture, resource(1060, b"<x/>"), packed=True),
    }


def png_with(extra: bytes) -> bytes:
    data = sound()["photo.png"]
    at = data.index(b"IDAT") - 4
    return data[:at] + extra + data[at:]


def segment(marker: int, body: bytes) -> bytes:
    """The sound JPEG with one more segment behind its first two bytes."""
    jpeg = sound()["photo.jpg"]
    return (
        jpeg[:2]
        + b"\xff"
        + bytes([marker])
        + struct.pack(">H", len(body) + 2)
        + body
        + jpeg[2:]
    )


def webp_with(name: bytes, body: bytes) -> bytes:
    """The sound extended WebP with one more chunk at its end and every flag set."""
    data = bytearray(sound()["photo.webp"])
    data[20] |= 0x2C
    data += name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
    data[4:8] = struct.pack("<I", len(data) - 8)
    return bytes(data)
