"""Hostile files: bombs, polyglots, strangers in a photo's clothes, broken structures, absurd metadata, hostile keys.

All are made here from a seed, none is stored. `corpus()` gives the same files on every day; most are malformed, the
rest are sound photos that carry something they should not.
"""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from tests.hostile_data import KEYS, STRANGERS, absurd_exif
from tests.hostile_fields import FIELDS, PNG_MAGIC, chunk
from tests.pictures import photo_like
from tests.unit.codec_samples import HEIC, png, saved, tiff

SEED = 20261123
MUTANTS = 50


@dataclass(frozen=True)
class Hostile:
    """`kind`: the group it belongs to; `key`: where it is uploaded."""

    kind: str
    key: str
    data: bytes


@cache
def sound() -> dict[str, bytes]:
    """One small sound photo of every accepted layout that matters."""
    picture = photo_like(24, 32)
    alpha = np.dstack((picture, picture[..., 0]))
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x8769] = "Maker", 6, {0x829A: 0.01, 0x9003: "1999:12:31 23:59:59"}
    icc = Image.open(io.BytesIO(saved(picture, "PNG"))).info.get("icc_profile") or _srgb()
    return {
        "photo.jpg": saved(picture, "JPEG", exif=exif.tobytes(), icc_profile=icc, comment="comment"),
        "progressive.jpg": saved(picture, "JPEG", progressive=True, restart_marker_blocks=1),
        "cmyk.jpg": saved(Image.fromarray(picture).convert("CMYK"), "JPEG"),
        "photo.png": saved(alpha, "PNG", exif=exif.tobytes(), icc_profile=icc),
        "palette.png": saved(Image.fromarray(picture).convert("P"), "PNG"),
        "deep.png": png(photo_like(12, 16, 3, 16)),
        "photo.webp": saved(picture, "WEBP", exif=exif.tobytes(), icc_profile=icc),
        "lossless.webp": saved(alpha, "WEBP", lossless=True),
        "photo.tif": saved(picture, "TIFF", description="words"),
        "lzw.tif": saved(picture, "TIFF", compression="tiff_lzw"),
        "jpeg.tif": saved(picture, "TIFF", compression="jpeg"),
        "deep.tif": tiff(photo_like(24, 32, 3, 16), photometric="rgb", compression="zlib", rowsperstrip=4),
        "photo.bmp": saved(picture, "BMP"),
        "palette.bmp": saved(Image.fromarray(picture).convert("P"), "BMP"),
        "photo.gif": saved(Image.fromarray(picture).convert("P"), "GIF", comment=b"comment"),
        "photo.avif": saved(picture, "AVIF", speed=10),
        "photo.heic": HEIC,
    }


def _srgb() -> bytes:
    from gpu_worker.codec.colour import srgb

    return srgb()


def corpus() -> Iterator[Hostile]:
    """Every hostile file, in a fixed order."""
    for kind, make in GROUPS.items():
        for key, data in make():
            yield Hostile(kind, key, data)


Files = Iterator[tuple[str, bytes]]


def truncated() -> Files:
    """Cut at every boundary of the structure, and in the middle of every field."""
    for name, data in sound().items():
        ends = {at + n for at, size in _fields(name, data) for n in (0, size // 2, size)}
        yield from ((f"cut/{end}-{name}", data[:end]) for end in sorted(ends) if 0 < end < len(data))


def overflowed() -> Files:
    """Every field of the structure in turn: zero, one, the largest, the largest signed, one more, one less."""
    for name, data in sound().items():
        for at, size in _fields(name, data):
            for value in _extremes(data[at : at + size]):
                yield f"field/{at}-{value.hex()}-{name}", data[:at] + value + data[at + size :]


def _extremes(old: bytes) -> list[bytes]:
    size = len(old)
    number = int.from_bytes(old, "big")
    values = [0, 1, 256**size - 1, 256**size // 2 - 1, (number + 1) % 256**size, (number - 1) % 256**size]
    found = [value.to_bytes(size, "big") for value in values]
    return [value for value in dict.fromkeys(found) if value != old][:4]


def _fields(name: str, data: bytes) -> list[tuple[int, int]]:
    """(offset, bytes) of the structure's fields: at most 24 a file, spread over all of it."""
    found = sorted(FIELDS[name.rpartition(".")[2]](data))
    step = max(1, len(found) // 24)
    return found[::step][:24]


def mutated() -> Files:
    """Bytes changed, put in, cut out and doubled at random, most of them near the beginning."""
    for name, data in sound().items():
        for number in range(MUTANTS):
            yield f"mutant/{number}-{name}", _mutant(data, random.Random(f"{SEED} {name} {number}"))


def _mutant(data: bytes, rng: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(min(len(made), rng.choice((64, 256, len(made)))))
        length = rng.choice((1, 1, 2, 4, 16))
        match rng.randrange(4):
            case 0:
                made[at : at + length] = rng.randbytes(length)
            case 1:
                made[at:at] = rng.randbytes(length)
            case 2 if len(made) > 40:
                del made[at : at + length]
            case _:
                made[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
    return bytes(made)


def bombs() -> Files:
    """Small files that claim or unfold to far more than they are."""
    for width, height in ((40_000, 40_000), (2**31 - 1, 1), (1, 2**31 - 1), (2**31 - 1, 2**31 - 1), (65_535, 65_535)):
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1 << 20), 9)) + chunk(b"IEND", b"")
        yield f"bomb/{width}x{height}.png", PNG_MAGIC + body
        for name in ("photo.jpg", "photo.gif", "photo.bmp", "photo.tif", "lossless.webp", "photo.avif", "photo.heic"):
            yield f"bomb/{width}x{height}-{name}", _claiming(name, width, height)
    inflated = zlib.compress(bytes(64 << 20), 9)
    for kind, head in (
        (b"zTXt", b"Comment\0\0"),
        (b"iTXt", b"Comment\0\1\0\0\0"),
        (b"iCCP", b"icc\0\0"),
        (b"IDAT", b""),
    ):
        yield f"bomb/{kind.decode()}.png", _png_with(chunk(kind, head + inflated))
        yield f"bomb/{kind.decode()}-many.png", _png_with(chunk(kind, head + inflated) * 20)
    yield "bomb/pixels.png", _png_of(zlib.compress(bytes(64 << 20), 9))
    yield "bomb/fields.tif", tiff(photo_like(24, 32), photometric="rgb", description="x" * 5_000_000)
    yield "bomb/strips.tif", tiff(photo_like(4000, 3), photometric="rgb", rowsperstrip=1)
    yield "bomb/flat.tif", tiff(np.zeros((5000, 5000, 3), np.uint8), photometric="rgb", compression="zlib")
    yield "bomb/flat.png", saved(Image.new("RGB", (6000, 6000)), "PNG")
    yield "bomb/flat.gif", saved(Image.new("P", (5000, 5000)), "GIF")
    for count in (101, 400):
        pages = [Image.new("L", (2, 2))] * count
        yield f"bomb/{count}-pages.tif", saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    yield "bomb/frames.gif", saved(Image.new("P", (9, 9)), "GIF", save_all=True, append_images=_frames(300))
    yield "bomb/quine.gz", zlib.compress(inflated)


def _frames(count: int) -> list[Image.Image]:
    return [Image.new("P", (9, 9), n % 256) for n in range(count)]


def _claiming(name: str, width: int, height: int) -> bytes:
    """The sound photo `name` with another size written over its own, wherever that stands."""
    data = sound()[name]
    with Image.open(io.BytesIO(data)) as image:
        sizes = {image.size, (64, 64)}  # what a HEIC is coded in
    for w, h in sizes:
        for order, form in ((">HH", (h, w)), ("<HH", (w, h)), ("<ii", (w, h)), (">II", (w, h))):
            old = struct.pack(order, *form)
            new = (min(height, 65_535), min(width, 65_535)) if order == ">HH" else (width, height)
            if order == "<HH":
                new = (min(width, 65_535), min(height, 65_535))
            data = data.replace(old, struct.pack(order, *new))
    if name.endswith("tif"):
        for tag, value in ((256, width), (257, height)):
            at = data.find(struct.pack("<H", tag))
            data = data[: at + 2] + struct.pack("<HII", 4, 1, value) + data[at + 12 :]
    return data


def _png_with(extra: bytes) -> bytes:
    data = sound()["photo.png"]
    at = data.index(b"IDAT") - 4
    return data[:at] + extra + data[at:]


def _png_of(stream: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 10, 10, 8, 2, 0, 0, 0))
    return PNG_MAGIC + header + chunk(b"IDAT", stream) + chunk(b"IEND", b"")


def strangers() -> Files:
    """What is no photo: under its own extension, and under those of photos."""
    for name, data in STRANGERS.items():
        yield from ((f"stranger/{name}.{extension}", data) for extension in (name, "jpg", "png"))


def liars() -> Files:
    """A format's magic bytes with another's body: the extension, the beginning and the rest say different things."""
    magics = [
        b"\xff\xd8\xff\xe0",
        PNG_MAGIC,
        b"GIF89a",
        b"II*\0",
        b"MM\0*",
        b"BM",
        b"RIFF\xff\0\0\0WEBP",
        b"\0\0\0\x1cftypavif",
    ]
    bodies = [*list(STRANGERS.values())[:12], *sound().values()]
    for number, magic in enumerate(magics):
        yield from ((f"liar/{number}-{other}.jpg", magic + body) for other, body in enumerate(bodies))


def polyglots() -> Files:
    """Sound photos that are also something else. They may be restored; the result is made of pixels alone."""
    tails = {
        "zip": _zip(),
        "exe": STRANGERS["exe"],
        "php": STRANGERS["php"],
        "html": STRANGERS["html"],
        "pdf": STRANGERS["pdf"],
    }
    for name, data in sound().items():
        yield from ((f"polyglot/{kind}-{name}", data + tail) for kind, tail in tails.items())
    yield "polyglot/js.gif", b"GIF89a/*" + bytes(4) + sound()["photo.gif"][13:] + b"*/=1;alert(1)//"
    yield "polyglot/js.bmp", b"BM/*" + sound()["photo.bmp"][4:] + b"*/=1;alert(1)"
    yield "polyglot/html.jpg", _segment(0xFE, STRANGERS["html"])
    yield "polyglot/php.png", _png_with(chunk(b"tEXt", b"c\0" + STRANGERS["php"]))


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("PLANTED.txt", "PLANTED zip")
    return file.getvalue()


def _segment(marker: int, body: bytes) -> bytes:
    """The sound JPEG with one more segment behind its first two bytes."""
    jpeg = sound()["photo.jpg"]
    return jpeg[:2] + b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def metadata() -> Files:
    """Metadata that lie about their size, point at themselves, never end, or are simply enormous."""
    for name, exif in absurd_exif().items():
        yield f"metadata/{name}.jpg", _segment(0xE1, b"Exif\0\0" + exif)
        yield f"metadata/{name}.png", _png_with(chunk(b"eXIf", exif))
        yield f"metadata/{name}.webp", _webp_with(b"EXIF", exif)
        yield f"metadata/{name}.tif", exif  # a TIFF is nothing else
    laughs = (
        b"<!DOCTYPE x ["
        + b"".join(b"<!ENTITY a%d '%s'>" % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12))
        + b"]><x>&a11;</x>"
    )
    yield "metadata/xmp.jpg", _segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + laughs)
    yield "metadata/xmp.png", _png_with(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + laughs))
    yield "metadata/xmp.webp", _webp_with(b"XMP ", laughs * 1000)
    for part, parts in ((1, 255), (0, 0), (255, 1), (2, 2)):
        yield (
            f"metadata/icc-{part}-{parts}.jpg",
            _segment(0xE2, b"ICC_PROFILE\0" + bytes((part, parts)) + bytes(60_000)),
        )
    for number, icc in enumerate(_absurd_icc()):
        yield f"metadata/icc-{number}.png", _png_with(chunk(b"iCCP", b"p\0\0" + zlib.compress(icc)))
        yield f"metadata/icc-{number}.webp", _webp_with(b"ICCP", icc)
    jpeg = sound()["photo.jpg"]
    yield "metadata/segments.jpg", jpeg[:2] + (b"\xff\xed\xff\xff" + bytes(65_533)) * 300 + jpeg[2:]
    yield "metadata/comments.jpg", jpeg[:2] + b"\xff\xfe\0\2" * 50_000 + jpeg[2:]
    yield "metadata/chunks.png", _png_with(chunk(b"tEXt", b"k\0v") * 20_000)


def _absurd_icc() -> list[bytes]:
    icc = _srgb()
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


def _webp_with(name: bytes, body: bytes) -> bytes:
    """The sound extended WebP with one more chunk at its end and every flag set."""
    data = bytearray(sound()["photo.webp"])
    data[20] |= 0x2C
    data += name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
    data[4:8] = struct.pack("<I", len(data) - 8)
    return bytes(data)


def keys() -> Files:
    """A sound photo and a stranger, each under every hostile key."""
    for key in KEYS:
        yield key, sound()["photo.png"]
        yield f"{key[:1000]}.x", STRANGERS["sh"]


GROUPS: dict[str, Callable[[], Files]] = {
    "truncated": truncated,
    "overflowed": overflowed,
    "mutated": mutated,
    "bombs": bombs,
    "strangers": strangers,
    "liars": liars,
    "polyglots": polyglots,
    "metadata": metadata,
    "keys": keys,
}
"""By kind. Nearly all of `polyglots` and half of `keys` are sound photos; every other file is malformed or no photo."""
