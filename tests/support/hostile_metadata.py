"""Metadata that lie about their size, point at themselves, never end, or are simply
enormous.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator

from gpu_worker.codec.colour import srgb
from tests.support.hostile_data import absurd_exif
from tests.support.hostile_fields import chunk
from tests.support.hostile_sound import png_with, segment, sound, webp_with

SEED = 20261123


def metadata() -> Iterator[tuple[str, bytes]]:
    """Metadata that lie about their size, point at themselves, never end, or are simply
    enormous.
    """
    for name, exif in absurd_exif().items():
        yield f"metadata/{name}.jpg", segment(0xE1, b"Exif\0\0" + exif)
        yield f"metadata/{name}.png", png_with(chunk(b"eXIf", exif))
        yield f"metadata/{name}.webp", webp_with(b"EXIF", exif)
        yield f"metadata/{name}.tif", exif  # a TIFF is nothing else
    laughs = (
        b"<!DOCTYPE x ["
        + b"".join(
            b"<!ENTITY a%d '%s'>" % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12)
        )
        + b"]><x>&a11;</x>"
    )
    yield "metadata/xmp.jpg", segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + laughs)
    yield (
        "metadata/xmp.png",
        png_with(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + laughs)),
    )
    yield "metadata/xmp.webp", webp_with(b"XMP ", laughs * 1000)
    for part, parts in ((1, 255), (0, 0), (255, 1), (2, 2)):
        yield (
            f"metadata/icc-{part}-{parts}.jpg",
            segment(0xE2, b"ICC_PROFILE\0" + bytes((part, parts)) + bytes(60_000)),
        )
    for number, icc in enumerate(_absurd_icc()):
        yield (
            f"metadata/icc-{number}.png",
            png_with(chunk(b"iCCP", b"p\0\0" + zlib.compress(icc))),
        )
        yield f"metadata/icc-{number}.webp", webp_with(b"ICCP", icc)
    jpeg = sound()["photo.jpg"]
    yield (
        "metadata/segments.jpg",
        jpeg[:2] + (b"\xff\xed\xff\xff" + bytes(65_533)) * 300 + jpeg[2:],
    )
    yield "metadata/comments.jpg", jpeg[:2] + b"\xff\xfe\0\2" * 50_000 + jpeg[2:]
    yield "metadata/chunks.png", png_with(chunk(b"tEXt", b"k\0v") * 20_000)


def _absurd_icc() -> list[bytes]:
    icc = srgb()
    made = [b"", bytes(128), icc[:200], bytes(8 << 20), b"\xff" * 3000]
    for number in range(60):
        rng = random.Random(f"{SEED} icc {number}")
        profile = bytearray(icc)
        for _ in range(rng.randint(1, 6)):
            profile[rng.randrange(40 if number % 2 else 0, len(profile))] = rng.choice(
                (0, 1, 0x7F, 0xFF, rng.randrange(256))
            )
        made.append(bytes(profile))
    return made
