"""TIFF and BigTIFF, both byte orders: the directory of tags of each page, wherever in the
file they are, as long as they come in the order of the pages.
"""

from __future__ import annotations

from contextlib import suppress

from handlers.intake.headers.camera_raw import BEGINNING_BYTES, sensor_header
from handlers.intake.headers.stream import Broken, EndOfData, Forward, Found, Order
from handlers.intake.headers.tiff_directory import (
    Layout,
    Tags,
    header_of,
    read_tags,
)
from shared.uploads.camera_raw import SUBFILE, is_camera_raw

_MAX_DIRECTORIES = 1000
_NO_PAGE = 0b101
"""Bits of a directory that is no page: a smaller copy of one, or a mask."""
_IN_HAND_BYTES = 1 << 20
"""Within these the directories of camera raw may lie in any order."""


def tiff(stream: Forward, found: Found) -> int:
    """Tell the size of each page; all count as one picture.

    A further page that is damaged ends the file. Of camera raw it is the size of what
    the sensor saw.
    """
    beginning = stream.peek(_IN_HAND_BYTES)[:BEGINNING_BYTES]
    order: Order = "little" if stream.read(2) == b"II" else "big"
    layout = Layout(order, 2, 4)
    if stream.number(2, order) == 43:
        layout = Layout(order, 8, 8)
        stream.skip(4)
    tags, following = _directory(stream, layout)
    if is_camera_raw(beginning, tags):
        found(sensor_header(stream, layout, beginning, tags))
        stream.drain()
        return 1
    found(header_of(tags))
    with suppress(Broken, EndOfData):
        for _ in range(_MAX_DIRECTORIES):
            if not following:
                break
            tags, following = _directory(stream, layout)
            if not tags.get(SUBFILE, 0) & _NO_PAGE:
                found(header_of(tags))
    stream.drain()
    return 1


def _directory(stream: Forward, layout: Layout) -> tuple[Tags, bool]:
    """The tags of the directory to which the number at hand points, and whether another
    one follows.
    """
    stream.seek(stream.number(layout.offset_bytes, layout.order))
    tags = read_tags(stream, layout)
    following = stream.peek(layout.offset_bytes)
    return tags, any(following)
