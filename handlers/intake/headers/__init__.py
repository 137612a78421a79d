"""Headers of the photo formats, read without decoding a pixel and without a decoder in
reach.

One small parser for each format: `parser(stream, found)` calls `found(Header)` as soon
as the size is known, reads on to the end, and returns the number of pictures it saw (0:
the end of the only one is missing; 2: two or more).
"""

from __future__ import annotations

from collections.abc import Callable

from handlers.intake.headers.bmp import bmp
from handlers.intake.headers.gif import gif
from handlers.intake.headers.heif import heif
from handlers.intake.headers.jpeg import jpeg
from handlers.intake.headers.jpeg2000 import CODESTREAM, SIGNATURE, jpeg2000
from handlers.intake.headers.png import png
from handlers.intake.headers.psd import psd
from handlers.intake.headers.stream import Broken, EndOfData, Forward, Found, Header
from handlers.intake.headers.tiff import tiff
from handlers.intake.headers.webp import webp

__all__ = [
    "HEAD_BYTES",
    "Broken",
    "EndOfData",
    "Forward",
    "Found",
    "Header",
    "Parser",
    "describe",
    "parser_for",
]

Parser = Callable[[Forward, Found], int]

HEAD_BYTES = 512
"""Enough of a file's beginning to recognise its format."""

_PARSERS: tuple[tuple[bytes, Parser], ...] = (
    (b"\xff\xd8\xff", jpeg),
    (b"\x89PNG\r\n\x1a\n", png),
    (b"GIF87a", gif),
    (b"GIF89a", gif),
    (b"II*\x00", tiff),
    (b"MM\x00*", tiff),
    (b"II+\x00", tiff),
    (b"MM\x00+", tiff),
    (SIGNATURE, jpeg2000),
    (CODESTREAM, jpeg2000),
    (b"8BPS", psd),
)

_HEIF_BRANDS = {
    b"heic",
    b"heix",
    b"heim",
    b"heis",
    b"hevc",
    b"hevx",
    b"mif1",
    b"msf1",
    b"avif",
    b"avis",
}

_OTHERS = (
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript file"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript file"),
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a Linux program"),
    (b"\xca\xfe\xba\xbe", "a program"),
    (b"\xcf\xfa\xed\xfe", "a macOS program"),
    (b"\x00asm", "a WebAssembly program"),
    (b"PK\x03\x04", "a ZIP archive or office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"\xff\x0a", "a JPEG XL file"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL file"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"ID3", "an MP3 recording"),
    (b"OggS", "an Ogg recording"),
    (b"\x1aE\xdf\xa3", "a Matroska video"),
    (b"SIMPLE  =", "a FITS file"),
    (b"FUJIFILM", "a camera raw file"),
    (b"IIU\0", "a camera raw file"),
    (b"IIRO", "a camera raw file"),
    (b"IIRS", "a camera raw file"),
    (b"MMOR", "a camera raw file"),
)


def parser_for(head: bytes) -> Parser | None:
    """The parser of the format whose magic bytes begin the file, or None."""
    for magic, parser in _PARSERS:
        if head.startswith(magic):
            return parser
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return webp
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return heif
    # Two letters are little: the size of the header that must follow makes sure.
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in (
        12,
        40,
        52,
        56,
        64,
        108,
        124,
    ):
        return bmp
    return None


def describe(head: bytes) -> str:
    """In a person's words, what a file that is no photo seems to be."""
    for magic, name in _OTHERS:
        if head.startswith(magic):
            return name
    if head[4:12] == b"ftypcrx ":
        return "a camera raw file"
    if head[4:8] == b"ftyp":
        return "a video"
    if head[:4] == b"RIFF":
        return "a sound or video file"
    text = _text(head)
    if text is None:
        return f"no known kind of file (it begins with {head[:8].hex(' ')})"
    if text.startswith("#!"):
        return "a script"
    if "<svg" in text:
        return "an SVG drawing"
    return "an HTML or XML document" if text.startswith("<") else "a text file"


def _text(head: bytes) -> str | None:
    """The head as text, or None; its last character may be cut."""
    text = head.decode("utf-8-sig", "ignore")
    if len(text.encode()) < len(head) - 6 or any(
        ord(c) < 32 and c not in "\t\r\n\f\x1b" for c in text
    ):
        return None
    return text.lstrip().lower()
