"""JPEG: a walk over its segments up to the first scan."""

from __future__ import annotations

from dataclasses import dataclass

from handlers.intake.headers.stream import Broken, Forward, Found, Header

_STANDALONE = {0x01, *range(0xD0, 0xD9)}
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_MODES = {1: "L", 3: "RGB", 4: "CMYK"}


def jpeg(stream: Forward, found: Found) -> int:
    """The thumbnail inside the metadata, which has a size of its own, is passed over
    with them.
    """
    stream.skip(2)
    sized = False
    while (marker := next_marker(stream)) != START_OF_SCAN:
        if marker in _STANDALONE:
            continue
        if marker == _END_OF_IMAGE:
            raise Broken("it ends before its picture begins")
        length = stream.number(2) - 2
        if length < 0:
            raise Broken("a segment is shorter than its own length field")
        if marker in FRAMES:
            if sized:  # some decoders would believe the later one
                raise Broken("it gives its size twice")
            found(_header(read_frame(stream, length)))
            sized = True
        else:
            stream.skip(length)
    if not sized:
        raise Broken("its picture begins before its size was given")
    return 1 if stream.drain_past(b"\xff\xd9") else 0


def next_marker(stream: Forward) -> int:
    """The marker at hand, whatever fills the space before it. Raises `Broken`."""
    if stream.read(1) != b"\xff":
        raise Broken("there is no marker where one must be")
    while (marker := stream.read(1)[0]) == 0xFF:
        pass
    return marker


@dataclass(frozen=True)
class Frame:
    """What a frame header says of its picture; `precision`: bits of a sample."""

    precision: int
    width: int
    height: int
    components: int


def read_frame(stream: Forward, length: int) -> Frame:
    """The frame header of `length` bytes. Raises `Broken`."""
    if length < 6:
        raise Broken("its frame header is too short")
    precision, height, width, components = (stream.number(n) for n in (1, 2, 2, 1))
    stream.skip(length - 6)
    return Frame(precision, width, height, components)


def _header(frame: Frame) -> Header:
    if frame.components not in _MODES:
        raise Broken(f"it has {frame.components} colour components")
    mode = _MODES[frame.components]
    if frame.precision != 8:
        mode += f";{frame.precision}"
    return Header("JPEG", frame.width, frame.height, mode)
