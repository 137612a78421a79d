"""Photos of every format, made by Pillow or by hand, and what the probe says of them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from PIL import Image

from handlers.intake.probe import Probed, probe
from shared.errors import Code, PermanentError
from shared.runtime.settings import Settings

SETTINGS = Settings(
    max_upload_bytes=5_000_000, max_pixels=1_000_000, max_output_pixels=10_000_000
)


def pieces(data: bytes, size: int = 1 << 20) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def probed(
    data: bytes, scale: float = 1.0, size: int = 1 << 20, page: int = 1
) -> Probed:
    return probe(pieces(data, size), SETTINGS, scale, page=page)


def refused(data: bytes, scale: float = 1.0, page: int = 1) -> tuple[Code, str]:
    with pytest.raises(PermanentError) as caught:
        probed(data, scale, page=page)
    return caught.value.code, caught.value.detail


def saved(
    mode: str, kind: str, size: tuple[int, int] = (37, 23), **options: Any
) -> bytes:
    out = io.BytesIO()
    image = (
        Image.effect_noise(size, 60)
        .convert("RGB")
        .convert(mode if mode != "I;16" else "L")
    )
    if mode == "RGBA":
        image.putalpha(Image.effect_noise(size, 60))
    (image.convert("I").convert("I;16") if mode == "I;16" else image).save(
        out, kind, **options
    )
    return out.getvalue()


def animated(kind: str, frames: int = 3, **options: Any) -> bytes:
    out = io.BytesIO()
    images = [Image.effect_noise((37, 23), 60).convert("RGB") for _ in range(frames)]
    images[0].save(out, kind, save_all=True, append_images=images[1:], **options)
    return out.getvalue()


def box(name: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I", len(body) + 8) + name + body


def heic(*sizes: tuple[int, int], brand: bytes = b"heic") -> bytes:
    ispe = [box(b"ispe", bytes(4), struct.pack(">II", *size)) for size in sizes]
    meta = box(
        b"meta",
        bytes(4),
        box(b"hdlr", bytes(20)),
        box(b"iprp", box(b"ipco", box(b"hvcC", bytes(9)), *ispe)),
    )
    return (
        box(b"ftyp", brand, bytes(4), b"mif1", brand) + meta + box(b"mdat", bytes(5000))
    )


def chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def png(width: int, height: int, rows: bytes = b"", *extra: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(extra)
        + chunk(b"IDAT", rows)
        + chunk(b"IEND", b"")
    )


@cache
def photos() -> dict[str, tuple[bytes, str, str]]:
    """Files that are fit, each with the format and mode that its header tells."""
    thumbnail = saved("RGB", "JPEG", (16, 16))
    return {
        "jpeg": (saved("RGB", "JPEG"), "JPEG", "RGB"),
        "jpeg-grey": (saved("L", "JPEG"), "JPEG", "L"),
        "jpeg-cmyk": (saved("CMYK", "JPEG"), "JPEG", "CMYK"),
        "jpeg-progressive": (
            saved("RGB", "JPEG", progressive=True, restart_marker_blocks=2),
            "JPEG",
            "RGB",
        ),
        "jpeg-thumbnail-inside": (
            saved("RGB", "JPEG", exif=b"Exif\x00\x00" + thumbnail),
            "JPEG",
            "RGB",
        ),
        "jpeg-large-profile": (
            saved("RGB", "JPEG", icc_profile=bytes(200_000)),
            "JPEG",
            "RGB",
        ),
        "jpeg-trailing-video": (saved("RGB", "JPEG") + bytes(2_000_000), "JPEG", "RGB"),
        "jpeg-several": (animated("MPO"), "JPEG", "RGB"),
        "png": (saved("RGB", "PNG"), "PNG", "RGB"),
        "png-alpha": (saved("RGBA", "PNG"), "PNG", "RGBA"),
        "png-palette": (saved("P", "PNG"), "PNG", "P"),
        "png-1": (saved("1", "PNG"), "PNG", "1"),
        "png-16": (saved("I;16", "PNG"), "PNG", "I;16"),
        "png-one-frame": (animated("PNG", frames=1), "PNG", "RGB"),
        "png-trailing": (saved("LA", "PNG") + b"trailing", "PNG", "LA"),
        "webp": (saved("RGB", "WEBP"), "WEBP", "RGB"),
        "webp-alpha": (saved("RGBA", "WEBP"), "WEBP", "RGBA"),
        "webp-lossless": (saved("RGB", "WEBP", lossless=True), "WEBP", "RGB"),
        "webp-profile": (saved("RGB", "WEBP", icc_profile=bytes(333)), "WEBP", "RGB"),
        "tiff": (saved("RGB", "TIFF"), "TIFF", "RGB"),
        "tiff-lzw": (saved("RGB", "TIFF", compression="tiff_lzw"), "TIFF", "RGB"),
        "tiff-16": (saved("I;16", "TIFF"), "TIFF", "I;16"),
        "tiff-grey": (saved("L", "TIFF"), "TIFF", "L"),
        "tiff-cmyk": (saved("CMYK", "TIFF"), "TIFF", "CMYK"),
        "tiff-big": (saved("L", "TIFF", big_tiff=True), "TIFF", "L"),
        "tiff-pages": (animated("TIFF"), "TIFF", "RGB"),
        "bmp": (saved("RGB", "BMP"), "BMP", "RGB"),
        "bmp-palette": (saved("P", "BMP"), "BMP", "P"),
        "gif": (saved("P", "GIF"), "GIF", "P"),
        "gif-grey": (saved("L", "GIF"), "GIF", "P"),
        "avif": (saved("RGB", "AVIF"), "AVIF", "RGB"),
        "heic": (heic((37, 23), (16, 16)), "HEIC", "RGB"),
        "jp2": (saved("RGB", "JPEG2000"), "JPEG2000", "RGB"),
        "j2k": (saved("L", "JPEG2000", no_jp2=True), "JPEG2000", "L"),
    }
