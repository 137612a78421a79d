"""Camera raw: what a sensor saw, in a file that is laid out as a TIFF. So are DNG, Canon's
CR2, and NEF, ARW, PEF and SRW, in which the sensor's picture has the photometric
interpretation of TIFF/EP (ISO 12234-2).
"""

from __future__ import annotations

from handlers.intake.headers.jpeg import FRAMES, START_OF_SCAN, next_marker, read_frame
from handlers.intake.headers.stream import Broken, Forward, Header
from handlers.intake.headers.tiff_directory import (
    DNG_VERSION,
    MAX_TAGS,
    PHOTOMETRIC,
    REDUCED,
    STRIPS,
    SUBDIRECTORIES,
    SUBDIRECTORY_COUNT,
    SUBFILE,
    Layout,
    Tags,
    header_of,
    read_tags,
)

_SENSOR = (32803, 34892)
"""The mosaic of a sensor, and what was made of one without a curve."""
_CANON = b"II*\0\x10\0\0\0CR\2\0"
BEGINNING_BYTES = 16
"""In a CR2 the last four say where the directory of the sensor's picture is."""


def is_camera_raw(beginning: bytes, tags: Tags) -> bool:
    """Whether the picture is elsewhere than where a TIFF has it. `tags`: those of the
    first directory, which of most cameras is that of a preview.
    """
    return (
        DNG_VERSION in tags
        or beginning.startswith(_CANON)
        or tags.get(PHOTOMETRIC) in _SENSOR
        or bool(tags.get(SUBFILE, 0) & REDUCED)
    )


def sensor_header(
    stream: Forward, layout: Layout, beginning: bytes, tags: Tags
) -> Header:
    """The header of the sensor's picture. `tags`: those of the first directory, which
    was just read. Raises `Broken`.
    """
    name = "DNG" if DNG_VERSION in tags else "RAW"
    if beginning.startswith(_CANON):
        return _canon_header(stream, layout, beginning)
    if _is_sensor(tags):
        return _sized(name, tags)
    for position in _subdirectories(stream, layout, tags):
        stream.rewind(position)
        below = read_tags(stream, layout)
        if _is_sensor(below):
            return _sized(name, below)
    raise Broken(
        "its first picture is only a preview, as in camera raw files, and it holds no"
        " picture of a sensor"
    )


def _is_sensor(tags: Tags) -> bool:
    is_reduced = tags.get(SUBFILE, 0) & REDUCED
    return not is_reduced and tags.get(PHOTOMETRIC) in _SENSOR


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
