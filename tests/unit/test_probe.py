"""Fit to restore or not: told from one bounded pass over the bytes, in sentences that a person understands."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from handlers.headers import Header
from handlers.headers.stream import MAX_PARTS
from handlers.probe import Probed, probe
from shared.errors import Code, DarkroomError, PermanentError
from shared.settings import Settings

SETTINGS = Settings(max_upload_bytes=5_000_000, max_pixels=1_000_000, max_output_pixels=10_000_000)


def pieces(data: bytes, size: int = 1 << 20) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def probed(data: bytes, scale: float = 1.0, size: int = 1 << 20) -> Probed:
    return probe(pieces(data, size), SETTINGS, scale)


def refused(data: bytes, scale: float = 1.0) -> tuple[Code, str]:
    with pytest.raises(PermanentError) as caught:
        probed(data, scale)
    return caught.value.code, caught.value.detail


def saved(mode: str, kind: str, size: tuple[int, int] = (37, 23), **options: Any) -> bytes:
    out = io.BytesIO()
    image = Image.effect_noise(size, 60).convert("RGB").convert(mode if mode != "I;16" else "L")
    if mode == "RGBA":
        image.putalpha(Image.effect_noise(size, 60))
    (image.convert("I").convert("I;16") if mode == "I;16" else image).save(out, kind, **options)
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
    meta = box(b"meta", bytes(4), box(b"hdlr", bytes(20)), box(b"iprp", box(b"ipco", box(b"hvcC", bytes(9)), *ispe)))
    return box(b"ftyp", brand, bytes(4), b"mif1", brand) + meta + box(b"mdat", bytes(5000))


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, rows: bytes = b"", *extra: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@cache
def photos() -> dict[str, tuple[bytes, str, str]]:
    """Files that are fit, each with the format and mode that its header tells."""
    thumbnail = saved("RGB", "JPEG", (16, 16))
    return {
        "jpeg": (saved("RGB", "JPEG"), "JPEG", "RGB"),
        "jpeg-grey": (saved("L", "JPEG"), "JPEG", "L"),
        "jpeg-cmyk": (saved("CMYK", "JPEG"), "JPEG", "CMYK"),
        "jpeg-progressive": (saved("RGB", "JPEG", progressive=True, restart_marker_blocks=2), "JPEG", "RGB"),
        "jpeg-thumbnail-inside": (saved("RGB", "JPEG", exif=b"Exif\x00\x00" + thumbnail), "JPEG", "RGB"),
        "jpeg-large-profile": (saved("RGB", "JPEG", icc_profile=bytes(200_000)), "JPEG", "RGB"),
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
    }


@pytest.mark.parametrize("name", list(photos()))
@pytest.mark.parametrize("size", [1 << 20, 7, 1])
def test_header_and_hash(name: str, size: int) -> None:
    """Every format's size and mode are read without decoding, wherever the pieces of the body are cut."""
    data, kind, mode = photos()[name]
    if size < 1000 < 100_000 < len(data):
        size = 1000 + size
    found = probed(data, size=size)
    assert found.header == Header(kind, 37, 23, mode)
    assert found.bytes == len(data)
    assert found.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("kind", ["AVIF", "TIFF"])
def test_big_endian_and_boxes_at_the_end(kind: str) -> None:
    """A TIFF of the other byte order; a picture whose sizes are told after its pixels."""
    if kind == "TIFF":
        tags = [(256, 4, 37), (257, 4, 23), (258, 3, 8 << 16), (262, 3, 1 << 16)]
        data = b"MM\x00*" + struct.pack(">I", 8) + struct.pack(">H", len(tags))
        data += b"".join(struct.pack(">HHII", tag, type_, 1, value) for tag, type_, value in tags) + bytes(4)
    else:
        avif = saved("RGB", "AVIF")
        ftyp = struct.unpack(">I", avif[:4])[0]
        meta = struct.unpack(">I", avif[ftyp : ftyp + 4])[0]
        data = avif[:ftyp] + avif[ftyp + meta :] + avif[ftyp : ftyp + meta]
    assert (probed(data).header.width, probed(data).header.height) == (37, 23)


def test_upside_down_bmp() -> None:
    """A negative height only tells the order of the rows."""
    data = saved("RGB", "BMP")
    assert probed(data[:22] + struct.pack("<i", -23) + data[26:]).header == Header("BMP", 37, 23, "RGB")


def test_empty_file() -> None:
    """Zero bytes have a code of their own."""
    assert refused(b"")[0] is Code.EMPTY_FILE


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"just some words\n", "a text file"),
        ("\ufeffgrüße 中文\n".encode() * 100, "a text file"),
        (b"import os\nos.remove('/')\n", "a text file"),
        (b"#!/usr/bin/env python\nprint()\n", "a script"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b"  <!DOCTYPE html><html>", "an HTML"),
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF document"),
        (b"%!PS-Adobe-3.0 EPSF", "a PostScript file"),
        (b"MZ\x90\x00" + bytes(500), "a Windows program"),
        (b"\x7fELF\x02\x01" + bytes(500), "a Linux program"),
        (b"PK\x03\x04" + saved("RGB", "JPEG"), "a ZIP archive"),
        (b"\x00\x00\x00\x20ftypisom" + bytes(500), "a video"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "a sound or video"),
        (b"8BPS\x00\x01", "a Photoshop file"),
        (b"\xff\x0a" + bytes(99), "a JPEG XL file"),
        (b"\x01\x02\x03\x04\x05\x06\x07\x08\x09", "01 02 03 04 05 06 07 08"),
        (b"BM this is not a picture", "a text file"),
        (b"\x00", "no known kind"),
    ],
)  # fmt: skip
def test_what_is_no_photo_is_named(data: bytes, what: str) -> None:
    """Whatever its name says, a file is what its first bytes are; the sentence says what was found and what works."""
    code, detail = refused(data)
    assert code is Code.UNSUPPORTED_FORMAT
    assert what in detail
    assert "JPEG, PNG, WebP" in detail


def test_a_photo_with_an_archive_behind_it_is_a_photo() -> None:
    """The result is made from pixels alone, so what hangs on behind the picture is left behind."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("evil.sh", "#!/bin/sh")
    assert probed(saved("RGB", "PNG") + archive.getvalue()).header.format == "PNG"


def test_a_small_file_that_claims_many_pixels() -> None:
    """A PNG of some 300 KB with 40,000 x 40,000 pixels is refused by its header, naming the claim and the setting."""
    bomb = png(40_000, 40_000, zlib.compress(bytes(300_000_000), 1)[:300_000])
    code, detail = refused(bomb)
    assert code is Code.TOO_MANY_PIXELS
    assert "40000 x 40000 = 1,600,000,000 pixels" in detail
    assert "DARKROOM_MAX_PIXELS" in detail


def test_claims_are_refused_before_the_rest_is_read() -> None:
    """A refused body costs its first pieces, not all of them; also one that would prove to be cut off."""
    body = pieces(png(40_000, 40_000, bytes(1_000_000))[:-500], size=1000)
    with pytest.raises(PermanentError, match="too_many_pixels"):
        probe(body, SETTINGS, 1.0)
    assert len(list(body)) > 990


@pytest.mark.parametrize("name", ["jpeg", "webp", "webp-alpha", "webp-lossless", "tiff", "bmp", "gif", "avif", "heic"])
def test_every_format_is_held_to_the_limit_of_pixels(name: str) -> None:
    """37 x 23 = 851 pixels pass a limit of 851 and not one of 850."""
    data = photos()[name][0]
    assert probe(pieces(data), SETTINGS.model_copy(update={"max_pixels": 851}), 1.0)
    with pytest.raises(PermanentError, match="too_many_pixels"):
        probe(pieces(data), SETTINGS.model_copy(update={"max_pixels": 850}), 1.0)


def test_the_result_is_limited_too() -> None:
    """Four times the side is sixteen times the pixels: the limit of the output counts the workflow's scale."""
    data = png(800, 800, b"x")
    assert probed(data, scale=3.9)
    code, detail = refused(data, scale=4.0)
    assert code is Code.TOO_MANY_PIXELS
    assert "DARKROOM_MAX_OUTPUT_PIXELS" in detail
    assert "scale 4" in detail


def test_a_gif_whose_picture_is_larger_than_its_screen() -> None:
    """The screen's size is what decoders enlarge, so it is not what is believed."""
    data = bytearray(saved("P", "GIF"))
    data[6:10] = struct.pack("<HH", 1, 1)
    assert probed(bytes(data)).header == Header("GIF", 37, 23, "P")


def test_the_largest_picture_of_a_heic_counts() -> None:
    """A first small size must not hide the size of the whole."""
    assert refused(heic((16, 16), (40_000, 40_000)))[0] is Code.TOO_MANY_PIXELS


@pytest.mark.parametrize(
    "data",
    [
        animated("GIF"),
        animated("PNG"),
        animated("WEBP"),
        animated("AVIF"),
    ],
    ids=["gif", "png", "webp", "avif"],
)
def test_animations(data: bytes) -> None:
    """More than one frame is refused: which of them should be restored?"""
    code, detail = refused(data)
    assert code is Code.ANIMATED
    assert "only still photos" in detail


# Cut off behind its directory, a TIFF shows it only to a decoder; behind the first picture, nothing is missing.
UNSEEN = ("tiff", "jpeg-trailing", "jpeg-several", "png-trailing")
VISIBLE = [name for name in photos() if not name.startswith(UNSEEN)]


@pytest.mark.parametrize("name", VISIBLE)
def test_a_file_that_was_cut_off(name: str) -> None:
    """Where the end of the file is visibly missing, the upload is refused and not tried."""
    data = photos()[name][0]
    code, detail = refused(data[: len(data) // 2])
    assert code is Code.TRUNCATED
    assert "upload it again" in detail


@pytest.mark.parametrize("name", list(photos()))
def test_every_beginning_of_a_photo_is_refused_or_fit(name: str) -> None:
    """Cut anywhere, a file is refused with a code, or read as far as it goes: nothing else happens."""
    data = photos()[name][0]
    for end in [*range(1, 200), *range(200, min(len(data), 20_000), 97)]:
        try:
            assert probed(data[:end]).bytes == end
        except PermanentError as error:
            assert error.code in (Code.TRUNCATED, Code.UNSUPPORTED_FORMAT)  # noqa: PT017


def test_a_thumbnail_is_no_end_of_a_photo() -> None:
    """A JPEG that lost its end is cut off, even though the thumbnail in its metadata is whole."""
    data = photos()["jpeg-thumbnail-inside"][0]
    assert refused(data[:-2])[0] is Code.TRUNCATED


def test_the_end_of_a_jpeg_may_lie_between_two_pieces() -> None:
    """The marker's two bytes may come in two pieces of the body."""
    data = saved("RGB", "JPEG")
    assert probe(iter([data[:-1], data[-1:]]), SETTINGS, 1.0).bytes == len(data)
    assert probe(iter([data[:-1], data[-1:], b"tail"]), SETTINGS, 1.0).bytes == len(data) + 4


def test_the_limit_of_bytes() -> None:
    """The limit itself passes; one byte more is refused, and reading stops there."""
    data = png(10, 10, bytes(2000))
    settings = SETTINGS.model_copy(update={"max_upload_bytes": len(data)})
    assert probe(pieces(data, 100), settings, 1.0).bytes == len(data)
    body = pieces(data + bytes(100_000), 100)
    with pytest.raises(PermanentError, match="DARKROOM_MAX_UPLOAD_BYTES") as caught:
        probe(body, settings, 1.0)
    assert caught.value.code is Code.TOO_LARGE
    assert len(list(body)) > 990


HOSTILE = {
    "no size in a jpeg": b"\xff\xd8\xff\xda\x00\x02\xff\xd9",
    "jpeg ends at once": b"\xff\xd8\xff\xd9",
    "jpeg segment of length 0": b"\xff\xd8\xff\xe0\x00\x00",
    "jpeg frame of length 2": b"\xff\xd8\xff\xc0\x00\x02",
    "jpeg of 0 pixels": b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x00\x00\x00\x01\x01\x11\x00\xff\xda\x00\x02\xff\xd9",
    "jpeg of 9 components": b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x01\x00\x01\x09\x01\x11\x00\xff\xda\x00\x02\xff\xd9",
    "jpeg without markers": b"\xff\xd8\xff\xe0\x00\x02nothing",
    "png without header": b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", b"x"),
    "png of 0 pixels": png(0, 10),
    "png without pixels": png(10, 10).replace(b"IDAT", b"abcd"),
    "png of colour type 7": png(10, 10).replace(b"\x08\x02\x00\x00\x00", b"\x08\x07\x00\x00\x00"),
    "png with a nameless chunk": png(10, 10, b"", chunk(b"\x00\x01\x02\x03", b"")),
    "png of many chunks": png(10, 10, b"", chunk(b"teXt", b"") * (MAX_PARTS // 2)),
    "gif of an unknown block": b"GIF89a" + bytes(7) + b"\x99",
    "gif without a picture": b"GIF89a" + bytes(7) + b"\x3b",
    "webp of nothing": b"RIFF\x04\x00\x00\x00WEBP",
    "webp of no frame": b"RIFF\x0c\x00\x00\x00WEBPEXIF\x00\x00\x00\x00",
    "webp frames without a size": b"RIFF\x0c\x00\x00\x00WEBPANMF\x00\x00\x00\x00",
    "webp of a broken frame": b"RIFF\x16\x00\x00\x00WEBPVP8 \x0a\x00\x00\x00" + bytes(10),
    "webp chunk of length 0": b"RIFF\x16\x00\x00\x00WEBPVP8L\x00\x00\x00\x00\x2f" + bytes(9),
    "tiff directory in its header": b"II*\x00\x02\x00\x00\x00" + bytes(50),
    "tiff of no tags": b"II*\x00\x08\x00\x00\x00\x00\x00",
    "tiff of many tags": b"II*\x00\x08\x00\x00\x00\xff\xff",
    "tiff without a size": b"II*\x00\x08\x00\x00\x00\x01\x00" + bytes(12),
    "bmp of no depth": b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 10, 10, 1, 0, 0),
    "bmp of negative width": b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, -10, 10, 1, 24, 0),
    "heic without sizes": heic(),
    "heic box of length 3": box(b"ftyp", b"heic", bytes(4)) + b"\x00\x00\x00\x03abcd",
    "heic of an endless box": box(b"ftyp", b"heic", bytes(4)) + b"\x00\x00\x00\x00mdat",
    "heic of many boxes": box(b"ftyp", b"heic", bytes(4)) + box(b"free") * (MAX_PARTS // 2),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers(name: str) -> None:
    """A header that breaks its format's rules is refused, whatever it claims; the work on it is bounded."""
    code, detail = refused(HOSTILE[name])
    assert code is Code.UNSUPPORTED_FORMAT
    assert "damaged" in detail


def test_camera_raw_is_refused() -> None:
    """A raw file is a TIFF whose first picture is a preview: restoring that would be restoring the wrong picture."""
    tags = [(254, 4, 1), (256, 4, 160), (257, 4, 120)]
    data = b"II*\x00" + struct.pack("<I", 8) + struct.pack("<H", len(tags))
    data += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    code, detail = refused(data)
    assert code is Code.UNSUPPORTED_FORMAT
    assert "camera raw" in detail


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """A photo with a few of its bytes changed, most of them near the beginning, cut off or followed by others."""
    data = bytearray(draw(st.sampled_from([data for data, _, _ in photos().values() if len(data) < 20_000])))
    for _ in range(draw(st.integers(0, 6))):
        end = min(len(data), draw(st.sampled_from([40, 200, len(data)])))
        data[draw(st.integers(0, end - 1))] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)) | st.none())]) + draw(st.binary(max_size=8))


MAGICS = st.sampled_from([
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\x00", b"MM\x00*", b"II+\x00", b"BM",
    b"\x00\x00\x00\x18ftypheic", b"RIFF\xff\xff\x00\x00WEBP",
])  # fmt: skip


@given(mangled() | st.builds(bytes.__add__, MAGICS, st.binary(max_size=300)))
def test_no_file_crashes_the_probe(data: bytes) -> None:
    """Any bytes at all are fit, or refused with a code of ours and a sentence."""
    try:
        found = probed(data, scale=4.0)
    except DarkroomError as error:
        assert error.detail  # noqa: PT017
        return
    assert found.bytes == len(data)
    assert 0 < found.header.width * found.header.height <= SETTINGS.max_pixels
