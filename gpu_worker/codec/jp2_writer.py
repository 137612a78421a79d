"""JP2 files (ISO/IEC 15444-1): a picture in 8 bits without loss, as libraries keep them.

The encoder writes pixels alone. Profile, resolution, XMP and EXIF are boxes that are
put in here, where `gpu_worker.codec.jp2` finds them.
"""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, cast

from PIL import Image

from gpu_worker.codec.jp2 import EXIF, XMP

TILE_PX = 1024
"""The encoder holds a tile at a time."""
_BOX = struct.Struct(">I4s")
_RESTRICTED_PROFILE = b"\2\0\0"
"""The way in which a `colr` box holds a whole profile."""
_DOTS_A_METRE = (5000, 127)
"""One dot an inch, as a fraction."""
_MOST_16_BITS = 65_535


def write_jp2(
    image: Image.Image,
    out: IO[bytes],
    xmp: str,
    *,
    exif: bytes = b"",
    icc: bytes | None = None,
    dpi: tuple[float, float] | None = None,
    folder: Path,
) -> None:
    """Write an image of mode L, RGB or RGBA into an empty file. `exif`: a TIFF block;
    `dpi`: across and down; `folder`: for what is encoded before its place is known.
    """
    with TemporaryFile(dir=folder) as coded:
        image.save(
            cast(IO[bytes], _Plain(coded)),
            "JPEG2000",
            mct=int(image.mode != "L"),
            tile_size=(TILE_PX, TILE_PX),
        )
        coded.seek(0)
        _assemble(coded, out, xmp, exif, icc, dpi)


class _Plain:
    """A file that the encoder writes to by Python alone, so that a full disk is told as
    such.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        return self._file.write(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()


def _assemble(
    coded: IO[bytes],
    out: IO[bytes],
    xmp: str,
    exif: bytes,
    icc: bytes | None,
    dpi: tuple[float, float] | None,
) -> None:
    """Copy the boxes of an encoded picture, with what is said of it before its pixels."""
    while True:
        frame = coded.read(_BOX.size)
        size, kind = _BOX.unpack(frame)
        if kind == b"jp2c":
            break
        content = coded.read(size - _BOX.size)
        if kind == b"jp2h":
            content = _header(content, icc, dpi)
        out.write(_box(kind, content))
    for name, text in ((XMP, xmp.encode()), (EXIF, exif)):
        if text:
            out.write(_box(b"uuid", name + text))
    out.write(frame)
    shutil.copyfileobj(coded, out)


def _header(
    content: bytes, icc: bytes | None, dpi: tuple[float, float] | None
) -> bytes:
    """The boxes about the picture, with this profile in the place of the colour space
    that the encoder named, and the resolution last.
    """
    found = b""
    at = 0
    while at < len(content):
        size, kind = _BOX.unpack_from(content, at)
        box = content[at : at + size]
        if kind == b"colr" and icc:
            box = _box(b"colr", _RESTRICTED_PROFILE + icc)
        found += box
        at += size
    resolution = _resolution(dpi) if dpi else b""
    return found + resolution


def _resolution(dpi: tuple[float, float]) -> bytes:
    """A superbox with the resolution at which the picture was taken, in dots a metre;
    nothing where it cannot be said.
    """
    (across, across_power), (down, down_power) = (_scientific(each) for each in dpi)
    if not across or not down:
        return b""
    below = _DOTS_A_METRE[1]
    values = struct.pack(
        ">HHHHbb", down, below, across, below, down_power, across_power
    )
    return _box(b"res ", _box(b"resc", values))


def _scientific(dpi: float) -> tuple[int, int]:
    """The numerator of dots a metre, as a number of 16 bits and a power of ten."""
    value, power = dpi * _DOTS_A_METRE[0], 0
    while round(value) > _MOST_16_BITS:
        value, power = value / 10, power + 1
    return round(value), power


def _box(kind: bytes, content: bytes) -> bytes:
    return _BOX.pack(_BOX.size + len(content), kind) + content
