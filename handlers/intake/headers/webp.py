"""WebP: a walk over the chunks of its RIFF container."""

from __future__ import annotations

from handlers.intake.headers.stream import Broken, EndOfData, Forward, Found, Header


def webp(stream: Forward, found: Found) -> int:
    """Stops at the second frame: two are already an animation."""
    stream.skip(4)
    end = stream.number(4, "little") + 8
    stream.skip(4)
    frames, sized = 0, False
    while stream.position + 8 <= end:
        name, length = stream.read(4), stream.number(4, "little")
        following = stream.position + length + length % 2
        if name in _SIZES and not sized:
            found(_SIZES[name](stream))
            sized = True
        frames += name in _FRAMES
        if frames == 2:
            break
        # Some writers leave out the byte that fills up the last chunk.
        stream.seek(min(following, end))
    if not sized or not frames:
        raise Broken("it holds no picture")
    stream.drain()
    if frames == 1 and stream.bytes < end - 1:
        raise EndOfData
    return frames


def _lossy(stream: Forward) -> Header:
    tag = stream.read(10)
    is_key_frame = tag[0] & 1 == 0
    if not is_key_frame or tag[3:6] != b"\x9d\x01\x2a":
        raise Broken("its VP8 frame has no start code")
    width = int.from_bytes(tag[6:8], "little") & 0x3FFF
    height = int.from_bytes(tag[8:10], "little") & 0x3FFF
    return Header("WEBP", width, height, "RGB")


def _lossless(stream: Forward) -> Header:
    if stream.read(1) != b"\x2f":
        raise Broken("its VP8L frame has no signature")
    bits = stream.number(4, "little")
    width = (bits & 0x3FFF) + 1
    height = (bits >> 14 & 0x3FFF) + 1
    mode = "RGBA" if bits >> 28 & 1 else "RGB"
    return Header("WEBP", width, height, mode)


def _extended(stream: Forward) -> Header:
    flags = stream.number(4, "little")
    width = stream.number(3, "little") + 1
    height = stream.number(3, "little") + 1
    mode = "RGBA" if flags & 0x10 else "RGB"
    return Header("WEBP", width, height, mode)


_SIZES = {b"VP8 ": _lossy, b"VP8L": _lossless, b"VP8X": _extended}
_FRAMES = {b"VP8 ", b"VP8L", b"ANMF"}
