"""The header of what a sensor saw, in a camera raw file (`shared.uploads.camera_raw`)."""

from __future__ import annotations

from handlers.intake.headers.jpeg import FRAMES, START_OF_SCAN, next_marker, read_frame
from handlers.intake.headers.stream import Broken, Forward, Header
from handlers.intake.headers.tiff_directory import (
    MAX_TAGS,
    STRIPS,
    SUBDIRECTORIES,
    SUBDIRECTORY_COUNT,
    Layout,
    Tags,
    header_of,
    read_tags,
)
from shared.uploads.camera_raw import DNG_VERSION, is_of_canon, is_sensor

BEGINNING_BYTES = 16
"""In a CR2 the last four say where the directory of the sensor's picture is."""


def sensor_header(
    stream: Forward, layout: Layout, beginning: bytes, tags: Tags
) -> Header:
    """The header of the sensor's picture. `tags`: those of the first directory, which
    was just read. Raises `Broken`.
    """
    if layout.offset_bytes == 8:
        raise Broken("it is camera raw laid out as a BigTIFF, which is not read")
    name = "DNG" if DNG_VERSION in tags else "RAW"
    if is_of_canon(beginning):
        return _canon_header(stream, layout, beginning)
    if is_sensor(tags):
        return _sized(name, tags)
    for position in _subdirectories(stream, layout, tags):
        stream.rewind(position)
        below = read_tags(stream, layout)
        if is_sensor(below):
            return _sized(name, below)
    raise Broken(
        "its first picture is only a preview, as in camera raw files, and it holds no"
        " picture of a sensor"
    )


def _subdirectories(stream: Forward, layout: Layout, tags: Tags) -> list[int]:
    """Where they begin, in the order of the file."""
    count = tags.get(SUBDIRECTORY_COUNT, 0)
    if count <= 1:
        return [tags[SUBDIRECTORIES]] if count else []
    stream.rewind(tags[SUBDIRECTORIES])
    size = layout.offset_bytes
    return sorted(
        stream.number(size, layout.order) for _ in range(min(count, MAX_TAGS))
    )


def _sized(name: str, tags: Tags) -> Header:
    header = header_of(tags)
    return Header(name, header.width, header.height, "CFA")


def _canon_header(stream: Forward, layout: Layout, beginning: bytes) -> Header:
    """The header of the lossless JPEG that a CR2 holds, each of whose pixels is one of
    the sensor for each of its components.
    """
    stream.rewind(int.from_bytes(beginning[12:16], layout.order))
    tags = read_tags(stream, layout)
    if STRIPS not in tags:
        raise Broken("it holds no picture of a sensor")
    stream.seek(tags[STRIPS])
    stream.skip(2)
    while (marker := next_marker(stream)) not in FRAMES:
        if marker == START_OF_SCAN:
            raise Broken("the picture of its sensor begins before its size was given")
        stream.skip(max(0, stream.number(2) - 2))
    frame = read_frame(stream, stream.number(2) - 2)
    return Header("RAW", frame.width * frame.components, frame.height, "CFA")
