"""Fit to restore or not: told from one bounded pass over the bytes, in sentences that a
person understands.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile

import pytest
from PIL import Image

from handlers.intake.headers import Header
from shared.errors import Code
from tests.support.probe_samples import animated, photos, probed, refused, saved


@pytest.mark.parametrize("name", list(photos()))
@pytest.mark.parametrize("size", [1 << 20, 7, 1])
def test_header_and_hash(name: str, size: int) -> None:
    """Every format's size and mode are read without decoding, wherever the pieces of
    the body are cut.
    """
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
        data = struct.pack(">2sHIH", b"MM", 42, 8, len(tags))
        for tag, type_, value in tags:
            data += struct.pack(">HHII", tag, type_, 1, value)
        data += bytes(4)
    else:
        avif = saved("RGB", "AVIF")
        (ftyp_bytes,) = struct.unpack_from(">I", avif)
        (meta_bytes,) = struct.unpack_from(">I", avif, ftyp_bytes)
        end = ftyp_bytes + meta_bytes
        data = avif[:ftyp_bytes] + avif[end:] + avif[ftyp_bytes:end]
    header = probed(data).header
    assert (header.width, header.height) == (37, 23)


@pytest.mark.parametrize("big", [False, True])
def test_the_page_that_is_meant(big: bool) -> None:
    """Its own size is looked at; a copy for a preview is no page, and a further page
    that is damaged is none either.
    """
    sizes = [(37, 23), (9, 9), (2000, 800), (11, 12)]
    images = [Image.new("L", size) for size in sizes]
    images[1].encoderinfo = {"tiffinfo": {254: 1}}
    out = io.BytesIO()
    images[0].save(out, "TIFF", save_all=True, append_images=images[1:], big_tiff=big)
    data = out.getvalue()
    found = probed(data, page=3).header
    assert (found.width, found.height) == (11, 12)
    assert refused(data, page=2)[0] == Code.TOO_MANY_PIXELS
    assert probed(data).header.width == 37
    code, detail = refused(data, page=4)
    assert (code, "has 3 in their order" in detail) == (Code.PAGE_OUT_OF_RANGE, True)
    assert refused(data[:-200], page=3)[0] == Code.PAGE_OUT_OF_RANGE
    assert refused(saved("RGB", "JPEG"), page=2)[0] == Code.PAGE_OUT_OF_RANGE


def test_upside_down_bmp() -> None:
    """A negative height only tells the order of the rows."""
    data = saved("RGB", "BMP")
    assert probed(data[:22] + struct.pack("<i", -23) + data[26:]).header == Header(
        "BMP", 37, 23, "RGB"
    )


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
        (
            b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
            "an SVG drawing",
        ),
        (b"  <!DOCTYPE html><html>", "an HTML"),
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF document"),
        (b"%!PS-Adobe-3.0 EPSF", "a PostScript file"),
        (b"MZ\x90\x00" + bytes(500), "a Windows program"),
        (b"\x7fELF\x02\x01" + bytes(500), "a Linux program"),
        (b"PK\x03\x04" + saved("RGB", "JPEG"), "a ZIP archive"),
        (b"\x00\x00\x00\x20ftypisom" + bytes(500), "a video"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "a sound or video"),
        (b"\xff\x0a" + bytes(99), "a JPEG XL file"),
        (b"\x01\x02\x03\x04\x05\x06\x07\x08\x09", "01 02 03 04 05 06 07 08"),
        (b"BM this is not a picture", "a text file"),
        (b"\x00", "no known kind"),
    ],
)
def test_what_is_no_photo_is_named(data: bytes, what: str) -> None:
    """Whatever its name says, a file is what its first bytes are; the sentence says
    what was found and what works.
    """
    code, detail = refused(data)
    assert code is Code.UNSUPPORTED_FORMAT
    assert what in detail
    assert "JPEG, PNG, WebP" in detail


def test_a_photo_with_an_archive_behind_it_is_a_photo() -> None:
    """The result is made from pixels alone, so what hangs on behind the picture is left
    behind.
    """
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("evil.sh", "#!/bin/sh")
    assert probed(saved("RGB", "PNG") + archive.getvalue()).header.format == "PNG"


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


def directory(*entries: tuple[int, int, int, int]) -> bytes:
    """A directory of a TIFF: tag, type, count and value of each entry."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<H", len(entries)) + packed + bytes(4)


PREVIEW = [(254, 4, 1, 1), (256, 4, 1, 160), (257, 4, 1, 120)]


def test_a_preview_alone_is_refused() -> None:
    """A raw file is a TIFF whose first picture is a preview: restoring that would be
    restoring the wrong picture.
    """
    code, detail = refused(b"II*\x00" + struct.pack("<I", 8) + directory(*PREVIEW))
    assert code is Code.UNSUPPORTED_FORMAT
    assert "camera raw" in detail


def test_camera_raw_as_a_bigtiff_is_refused() -> None:
    """LibRaw reads none, and what reads it would take the preview for the photo."""
    tags = [(254, 1), (256, 160), (257, 120)]
    data = struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, len(tags))
    for tag, value in tags:
        data += struct.pack("<HHQQ", tag, 4, 1, value)
    code, detail = refused(data + bytes(8))
    assert code is Code.UNSUPPORTED_FORMAT
    assert "laid out as a BigTIFF" in detail


@pytest.mark.parametrize("size", [1 << 20, 7])
def test_the_directories_of_camera_raw_come_in_any_order(size: int) -> None:
    """The sensor's before the list that leads to it, which is behind a second preview."""
    sensor = directory(
        (254, 4, 1, 0), (256, 4, 1, 37), (257, 4, 1, 23), (262, 3, 1, 32803)
    )
    first_at, preview_at = 100, 200
    list_at = 300
    first = directory(*PREVIEW, (330, 4, 2, list_at))
    data = bytearray(308)
    for at, part in (
        (0, struct.pack("<2sHI", b"II", 42, first_at)),
        (20, sensor),
        (first_at, first),
        (preview_at, directory(*PREVIEW)),
        (list_at, struct.pack("<II", preview_at, 20)),
    ):
        data[at : at + len(part)] = part
    assert probed(bytes(data), size=size).header == Header("RAW", 37, 23, "CFA")


@pytest.mark.parametrize(
    "head", [b"IIRO\x08", b"IIU\0\x18", b"FUJIFILMCCD-RAW", b"\0\0\0\x18ftypcrx "]
)
def test_other_camera_raw_is_named(head: bytes) -> None:
    code, detail = refused(head + bytes(64))
    assert code is Code.UNSUPPORTED_FORMAT
    assert "this is a camera raw file; photos are accepted as JPEG" in detail
    assert "DNG" in detail
