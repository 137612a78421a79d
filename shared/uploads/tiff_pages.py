"""The pages of a TIFF, found by a walk along its directories: no pixel is read."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO, Any

SUFFIXES = (".tif", ".tiff")
_SUBFILE_TAG = 254
_NO_PAGES = 0b101
"""Bits of a directory that is a reduced copy of another one, or a mask for it."""
_MOST_ENTRIES = 4096


@dataclass(frozen=True)
class _Layout:
    """How a directory lies: the byte order, the format of its count of entries, its
    entry's format and length, and the format of an offset.
    """

    order: str
    count: str
    entry: str
    offset: str


_CLASSIC, _BIG = ("H", "HHI4s", "I"), ("Q", "HHQ8s", "Q")
_HEADS = {
    b"II*\0": _Layout("<", *_CLASSIC),
    b"MM\0*": _Layout(">", *_CLASSIC),
    b"II+\0": _Layout("<", *_BIG),
    b"MM\0+": _Layout(">", *_BIG),
}


def directories(file: IO[bytes], most: int) -> list[int]:
    """Where the directory of each page begins, in a file that can be sought; at most
    `most` of them, and none of a file that is no TIFF.

    Reduced copies and masks are no pages. What lies behind a directory that cannot be
    read, or that was there before, is passed over.
    """
    file.seek(0)
    layout = _HEADS.get(file.read(4))
    if layout is None:
        return []
    if layout.offset == "Q":
        file.read(4)
    found: list[int] = []
    seen: set[int] = set()
    try:
        (at,) = _read(file, layout, layout.offset)
        # A copy of each page, or a mask beside it, is as much as there may be.
        while at and at not in seen and len(found) < most and len(seen) < 3 * most:
            seen.add(at)
            file.seek(at)
            subfile = _subfile(file, layout)
            if not subfile & _NO_PAGES:
                found.append(at)
            (at,) = _read(file, layout, layout.offset)
    except (struct.error, OverflowError, ValueError):
        pass  # the end, where none should be
    return found


def beginning_with(data: bytes, directory: int) -> bytes:
    """The TIFF with the directory of another page as its first."""
    layout = _HEADS[data[:4]]
    at = 8 if layout.offset == "Q" else 4
    pointer = struct.pack(layout.order + layout.offset, directory)
    return b"".join((data[:at], pointer, memoryview(data)[at + len(pointer) :]))


def _subfile(file: IO[bytes], layout: _Layout) -> int:
    """What kind of picture the directory at hand is of; the file is at its end then.

    Raises `ValueError` for what is no directory.
    """
    (count,) = _read(file, layout, layout.count)
    if not 0 < count <= _MOST_ENTRIES:
        raise ValueError(f"{count} entries")
    subfile = 0
    for _ in range(count):
        tag, kind, _, value = _read(file, layout, layout.entry)
        if tag == _SUBFILE_TAG:
            form = "H" if kind == 3 else "I"
            (subfile,) = struct.unpack_from(layout.order + form, value)
    return int(subfile)


def _read(file: IO[bytes], layout: _Layout, form: str) -> tuple[Any, ...]:
    packed = struct.Struct(layout.order + form)
    return packed.unpack(file.read(packed.size))
