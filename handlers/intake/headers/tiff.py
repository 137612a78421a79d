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
_SUBDIRECTORIES, _DNG_VERSION = 330, 50706
_SUBDIRECTORY_COUNT = -_SUBDIRECTORIES
"""Stands beside the tag: where there are several, its value is where their list is."""
_RAW_COLOURS = (32803, 34892)
"""The mosaic of a sensor, and what was made of one without a curve."""
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
    if _DNG_VERSION in tags:
        found(_raw_header(stream, layout, tags))
        stream.drain()
        return 1
    if tags.get(_SUBFILE, 0) & _REDUCED:
        raise Broken(
            "its first picture is only a preview, as in camera raw files, of which DNG is read"
        )
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


def _raw_header(stream: Forward, layout: _Layout, tags: dict[int, int]) -> Header:
    """The header of the sensor's picture in a DNG: its first one, or the first of those
    below that which is not reduced.
    """
    if _is_raw(tags):
        return _sized("DNG", tags)
    for position in _subdirectories(stream, layout, tags):
        stream.seek(position)
        below = _tags(stream, layout)
        if _is_raw(below):
            return _sized("DNG", below)
    raise Broken("it holds no picture of a sensor")


def _is_raw(tags: dict[int, int]) -> bool:
    is_reduced = tags.get(_SUBFILE, 0) & _REDUCED
    return not is_reduced and tags.get(_PHOTOMETRIC) in _RAW_COLOURS


def _subdirectories(
    stream: Forward, layout: _Layout, tags: dict[int, int]
) -> list[int]:
    """Where they begin, in the order of the file."""
    count = tags.get(_SUBDIRECTORY_COUNT, 0)
    if count <= 1:
        return [tags[_SUBDIRECTORIES]] if count else []
    stream.seek(tags[_SUBDIRECTORIES])
    size = layout.offset_bytes
    return sorted(
        stream.number(size, layout.order) for _ in range(min(count, _MAX_TAGS))
    )


def _sized(name: str, tags: dict[int, int]) -> Header:
    header = _header(tags)
    return Header(name, header.width, header.height, "CFA")


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
        if tag == _DNG_VERSION:
            tags[tag] = 1
        elif tag == _SUBDIRECTORIES:
            tags[_SUBDIRECTORY_COUNT] = values
            tags[tag] = int.from_bytes(field, layout.order)
        elif 0 < size <= layout.offset_bytes and values == 1:
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
