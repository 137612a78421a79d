"""TIFF and BigTIFF, both byte orders: the directory of tags of each page, wherever in the
file they are, as long as they come in the order of the pages.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass

from handlers.intake.headers.stream import (
    Broken,
    EndOfData,
    Forward,
    Found,
    Header,
    Order,
)

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLES = 254, 256, 257, 258, 262, 277
_SIZES = {1: 1, 3: 2, 4: 4, 16: 8}
"""Bytes of the types that hold unsigned integers."""
_MODES = {0: "L", 1: "L", 2: "RGB", 3: "P", 5: "CMYK", 6: "YCbCr", 8: "LAB"}
_MAX_TAGS = 4096
_MAX_DIRECTORIES = 1000
_REDUCED, _NO_PAGE = 0b1, 0b101
"""Bits of a directory that is a smaller copy of a page, and of one that is no page: it or
a mask.
"""


@dataclass(frozen=True)
class _Layout:
    order: Order
    count_bytes: int
    offset_bytes: int

    @property
    def entry(self) -> str:
        """How one tag lies, as `struct` has it."""
        order = "<" if self.order == "little" else ">"
        return f"{order}HH{'I' if self.offset_bytes == 4 else 'Q'}{self.offset_bytes}s"


def tiff(stream: Forward, found: Found) -> int:
    """Tell the size of each page; all count as one picture.

    A further page that is damaged ends the file. Camera raw files are recognised by
    their preview.
    """
    order: Order = "little" if stream.read(2) == b"II" else "big"
    layout = _Layout(order, 2, 4)
    if stream.number(2, order) == 43:
        layout = _Layout(order, 8, 8)
        stream.skip(4)
    tags, following = _directory(stream, layout)
    if tags.get(_SUBFILE, 0) & _REDUCED:
        raise Broken("its first picture is only a preview, as in camera raw files")
    found(_header(tags))
    with suppress(Broken, EndOfData):
        for _ in range(_MAX_DIRECTORIES):
            if not following:
                break
            tags, following = _directory(stream, layout)
            if not tags.get(_SUBFILE, 0) & _NO_PAGE:
                found(_header(tags))
    stream.drain()
    return 1


def _directory(stream: Forward, layout: _Layout) -> tuple[dict[int, int], bool]:
    """The tags of the directory to which the number at hand points, and whether another
    one follows.
    """
    stream.seek(stream.number(layout.offset_bytes, layout.order))
    tags = _tags(stream, layout)
    following = stream.peek(layout.offset_bytes)
    return tags, any(following)


def _header(tags: dict[int, int]) -> Header:
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise Broken("its size is missing")
    return Header("TIFF", tags[_WIDTH], tags[_HEIGHT], _mode(tags))


def _tags(stream: Forward, layout: _Layout) -> dict[int, int]:
    count = stream.number(layout.count_bytes, layout.order)
    if not 0 < count <= _MAX_TAGS:
        raise Broken(f"its directory has {count} tags")
    tags: dict[int, int] = {}
    seen: set[int] = set()
    entry = struct.Struct(layout.entry)
    for tag, kind, values, field in entry.iter_unpack(stream.read(count * entry.size)):
        size = _SIZES.get(kind, 0)
        # decoders do not agree which to believe
        if tag in seen and tag in (_WIDTH, _HEIGHT):
            raise Broken("it gives its size twice")
        seen.add(tag)
        if 0 < size <= layout.offset_bytes and values == 1:
            value = int.from_bytes(field[:size], layout.order)
            tags.setdefault(tag, value)
    return tags


def _mode(tags: dict[int, int]) -> str:
    photometric = tags.get(_PHOTOMETRIC, 1)
    mode = _MODES.get(photometric, "unknown")
    usual_bits = 1 if tags.get(_SAMPLES, 1) == 1 else 8
    bits = tags.get(_BITS, usual_bits)
    if mode == "L" and bits == 1:
        return "1"
    if mode == "L" and bits == 16:
        return "I;16"
    return mode if bits == 8 else f"{mode};{bits}"
