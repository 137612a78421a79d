"""The directory of a TIFF: the tags of one picture, as far as they are single unsigned
integers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from handlers.intake.headers.stream import Broken, Forward, Header, Order
from shared.uploads.camera_raw import DNG_VERSION, PHOTOMETRIC

STRIPS, SUBDIRECTORIES = 273, 330
SUBDIRECTORY_COUNT = -SUBDIRECTORIES
"""Stands beside the tag: where there are several, its value is where their list is."""
_WIDTH, _HEIGHT, _BITS, _SAMPLES = 256, 257, 258, 277
_SIZES = {1: 1, 3: 2, 4: 4, 16: 8}
"""Bytes of the types that hold unsigned integers."""
_MODES = {0: "L", 1: "L", 2: "RGB", 3: "P", 5: "CMYK", 6: "YCbCr", 8: "LAB"}
MAX_TAGS = 4096

Tags = dict[int, int]


@dataclass(frozen=True)
class Layout:
    order: Order
    count_bytes: int
    offset_bytes: int

    @property
    def entry(self) -> str:
        """How one tag lies, as `struct` has it."""
        order = "<" if self.order == "little" else ">"
        return f"{order}HH{'I' if self.offset_bytes == 4 else 'Q'}{self.offset_bytes}s"


def read_tags(stream: Forward, layout: Layout) -> Tags:
    """The tags of the directory at hand. Raises `Broken`."""
    count = stream.number(layout.count_bytes, layout.order)
    if not 0 < count <= MAX_TAGS:
        raise Broken(f"its directory has {count} tags")
    tags: Tags = {}
    seen: set[int] = set()
    entry = struct.Struct(layout.entry)
    for tag, kind, values, field in entry.iter_unpack(stream.read(count * entry.size)):
        size = _SIZES.get(kind, 0)
        # decoders do not agree which to believe
        if tag in seen and tag in (_WIDTH, _HEIGHT):
            raise Broken("it gives its size twice")
        seen.add(tag)
        if tag == DNG_VERSION:
            tags[tag] = 1
        elif tag == SUBDIRECTORIES:
            tags[SUBDIRECTORY_COUNT] = values
            tags[tag] = int.from_bytes(field, layout.order)
        elif 0 < size <= layout.offset_bytes and values == 1:
            value = int.from_bytes(field[:size], layout.order)
            tags.setdefault(tag, value)
    return tags


def header_of(tags: Tags) -> Header:
    """The header of the picture. Raises `Broken` where it has no size."""
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise Broken("its size is missing")
    return Header("TIFF", tags[_WIDTH], tags[_HEIGHT], _mode(tags))


def _mode(tags: Tags) -> str:
    photometric = tags.get(PHOTOMETRIC, 1)
    mode = _MODES.get(photometric, "unknown")
    usual_bits = 1 if tags.get(_SAMPLES, 1) == 1 else 8
    bits = tags.get(_BITS, usual_bits)
    if mode == "L" and bits == 1:
        return "1"
    if mode == "L" and bits == 16:
        return "I;16"
    return mode if bits == 8 else f"{mode};{bits}"
