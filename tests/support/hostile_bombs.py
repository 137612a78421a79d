"""Small files that claim or unfold to far more than they are."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.support.codec_samples import saved, tiff
from tests.support.hostile_fields import PNG_MAGIC, chunk
from tests.support.hostile_sound import png_with, sound
from tests.support.pictures import photo_like


def bombs() -> Iterator[tuple[str, bytes]]:
    """Small files that claim or unfold to far more than they are."""
    for width, height in (
        (40_000, 40_000),
        (2**31 - 1, 1),
        (1, 2**31 - 1),
        (2**31 - 1, 2**31 - 1),
        (65_535, 65_535),
    ):
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        body = (
            chunk(b"IHDR", header)
            + chunk(b"IDAT", zlib.compress(bytes(1 << 20), 9))
            + chunk(b"IEND", b"")
        )
        yield f"bomb/{width}x{height}.png", PNG_MAGIC + body
        for name in (
            "photo.jpg",
            "photo.gif",
            "photo.bmp",
            "photo.tif",
            "lossless.webp",
            "photo.avif",
            "photo.heic",
            "photo.jp2",
            "photo.psd",
        ):
            yield f"bomb/{width}x{height}-{name}", _claiming(name, width, height)
    inflated = zlib.compress(bytes(64 << 20), 9)
    for kind, head in (
        (b"zTXt", b"Comment\0\0"),
        (b"iTXt", b"Comment\0\1\0\0\0"),
        (b"iCCP", b"icc\0\0"),
        (b"IDAT", b""),
    ):
        yield f"bomb/{kind.decode()}.png", png_with(chunk(kind, head + inflated))
        yield (
            f"bomb/{kind.decode()}-many.png",
            png_with(chunk(kind, head + inflated) * 20),
        )
    yield "bomb/pixels.png", _png_of(zlib.compress(bytes(64 << 20), 9))
    yield (
        "bomb/fields.tif",
        tiff(photo_like(24, 32), photometric="rgb", description="x" * 5_000_000),
    )
    yield (
        "bomb/strips.tif",
        tiff(photo_like(4000, 3), photometric="rgb", rowsperstrip=1),
    )
    yield (
        "bomb/flat.tif",
        tiff(
            np.zeros((5000, 5000, 3), np.uint8), photometric="rgb", compression="zlib"
        ),
    )
    yield "bomb/flat.png", saved(Image.new("RGB", (6000, 6000)), "PNG")
    yield "bomb/flat.gif", saved(Image.new("P", (5000, 5000)), "GIF")
    for count in (101, 400):
        pages = [Image.new("L", (2, 2))] * count
        yield (
            f"bomb/{count}-pages.tif",
            saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]),
        )
    yield (
        "bomb/frames.gif",
        saved(Image.new("P", (9, 9)), "GIF", save_all=True, append_images=_frames(300)),
    )
    yield "bomb/quine.gz", zlib.compress(inflated)


def _frames(count: int) -> list[Image.Image]:
    return [Image.new("P", (9, 9), n % 256) for n in range(count)]


def _claiming(name: str, width: int, height: int) -> bytes:
    """The sound photo `name` with another size written over its own, wherever that
    stands.
    """
    data = sound()[name]
    with Image.open(io.BytesIO(data)) as image:
        sizes = {image.size, (64, 64)}  # what a HEIC is coded in
    for w, h in sizes:
        for order, form in (
            (">HH", (h, w)),
            ("<HH", (w, h)),
            ("<ii", (w, h)),
            (">II", (w, h)),
        ):
            old = struct.pack(order, *form)
            new = (
                (min(height, 65_535), min(width, 65_535))
                if order == ">HH"
                else (width, height)
            )
            if order == "<HH":
                new = (min(width, 65_535), min(height, 65_535))
            data = data.replace(old, struct.pack(order, *new))
    if name.endswith("tif"):
        for tag, value in ((256, width), (257, height)):
            at = data.find(struct.pack("<H", tag))
            data = data[: at + 2] + struct.pack("<HII", 4, 1, value) + data[at + 12 :]
    return data


def _png_of(stream: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 10, 10, 8, 2, 0, 0, 0))
    return PNG_MAGIC + header + chunk(b"IDAT", stream) + chunk(b"IEND", b"")
