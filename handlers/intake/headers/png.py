"""PNG: a walk over its chunks to the end chunk. An animated one (APNG) gives its number
of frames on the way.
"""

from __future__ import annotations

from handlers.intake.headers.stream import Broken, Forward, Found, Header

_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}


def png(stream: Forward, found: Found) -> int:
    stream.skip(8)
    if stream.read(8) != b"\x00\x00\x00\x0dIHDR":
        raise Broken("it does not begin with its header chunk")
    width, height, depth, colour = (stream.number(n) for n in (4, 4, 1, 1))
    stream.skip(3 + 4)
    if colour not in _MODES or depth not in (1, 2, 4, 8, 16):
        raise Broken(f"colour type {colour} with {depth} bits does not exist")
    found(Header("PNG", width, height, _mode(colour, depth)))
    return _frames(stream)


def _mode(colour: int, depth: int) -> str:
    if colour == 0 and depth in (1, 16):
        return "1" if depth == 1 else "I;16"
    return _MODES[colour] + (";16" if depth == 16 else "")


def _frames(stream: Forward) -> int:
    frames, pixels = 1, False
    while True:
        length, name = stream.number(4), stream.read(4)
        if not name.isalpha():
            raise Broken("a chunk has no proper name")
        if name == b"IEND":
            break
        if name == b"IHDR":  # decoders would believe the later one
            raise Broken("it gives its size twice")
        pixels = pixels or name == b"IDAT"
        if name == b"acTL" and length == 8 and not pixels:
            frames = max(1, stream.number(4))
            length -= 4
        stream.skip(length + 4)
    if not pixels:
        raise Broken("it has no pixels")
    stream.drain()
    return frames
