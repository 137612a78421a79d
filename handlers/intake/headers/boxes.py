"""Boxes of ISO files, of which HEIC, AVIF and JPEG 2000 are made."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from handlers.intake.headers.stream import Broken, Forward

_MAX_BOXES = 10_000
"""Most boxes looked at inside another one. Photos of phones have some dozens."""


def next_box(stream: Forward) -> tuple[bytes, int | None]:
    """Name and bytes of content of the next box; None for a box that lasts to the end
    of the file.
    """
    size, name = stream.number(4), stream.read(4)
    header = 8
    if size == 1:
        size, header = stream.number(8), 16
    elif size == 0:
        return name, None
    if size < header:
        raise Broken("a box is shorter than its own header")
    return name, size - header


class Boxes:
    """A reader of boxes inside boxes, that counts them."""

    def __init__(self) -> None:
        self._left = _MAX_BOXES

    def children(self, data: bytes, *wanted: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Name and content of the boxes in `data` that are `wanted`."""
        at = 0
        while at + 8 <= len(data):
            self._left -= 1
            if not self._left:
                raise Broken(f"it has more than {_MAX_BOXES} boxes")
            size, name = struct.unpack_from(">I4s", data, at)
            start = at + 8
            if size == 1:  # the size proper follows the name
                size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
            end = at + size if size else len(data)
            if end < start:
                raise Broken("a box is shorter than its own header")
            if name in wanted:
                yield name, data[start:end]
            at = end
