"""JPEG: a walk over its segments up to the first scan."""

from __future__ import annotations

from handlers.intake.headers.stream import Broken, Forward, Found, Header

_STANDALONE = {0x01, *range(0xD0, 0xD9)}
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_MODES = {1: "L", 3: "RGB", 4: "CMYK"}


def jpeg(stream: Forward, found: Found) -> int:
    """The thumbnail inside the metadata, which has a size of its own, is passed over
    with them.
    """
    stream.skip(2)
    sized = False
    while (marker := _marker(stream)) != _START_OF_SCAN:
        if marker in _STANDALONE:
            continue
        if marker == _END_OF_IMAGE:
            raise Broken("it ends before its picture begins")
        length = stream.number(2) - 2
        if length < 0:
            raise Broken("a segment is shorter than its own length field")
        if marker in _FRAMES:
            if sized:  # some decoders would believe the later one
                raise Broken("it gives its size twice")
            found(_frame(stream, length))
            sized = True
        else:
            stream.skip(length)
    if not sized:
        raise Broken("its picture begins before its size was given")
    return 1 if stream.drain_past(b"\xff\xd9") else 0


def _marker(stream: Forward) -> int:
    if stream.read(1) != b"\xff":
        raise Broken("there is no marker where one must be")
    while (marker := stream.read(1)[0]) == 0xFF:
        pass
    return marker


def _frame(stream: Forward, length: int) -> Header:
    if length < 6:
        raise Broken("its frame header is too short")
    precision, height, width, components = (stream.number(n) for n in (1, 2, 2, 1))
    stream.skip(length - 6)
    if components not in _MODES:
        raise Broken(f"it has {components} colour components")
    return Header(
        "JPEG",
        width,
        height,
        _MODES[components] + (f";{precision}" if precision != 8 else ""),
    )
