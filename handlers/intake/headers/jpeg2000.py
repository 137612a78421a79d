"""JPEG 2000: a walk over the boxes of a JP2 file to its codestream, or a codestream
alone.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from handlers.intake.headers.boxes import Boxes, next_box
from handlers.intake.headers.stream import Broken, Forward, Found, Header

CODESTREAM = b"\xff\x4f\xff\x51"
SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_END = b"\xff\xd9"
_MAX_HEADER_BYTES = 4 << 20
_MOST_COMPONENTS = 16384
_CMYK = 12
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class _Told:
    """What the boxes say of the picture."""

    size: tuple[int, int]
    is_cmyk: bool


def jpeg2000(stream: Forward, found: Found) -> int:
    """Boxes and codestream each tell a size, and must tell the same. What follows the
    codestream is passed over.
    """
    if stream.peek(4) == CODESTREAM:
        found(_codestream(stream))
        return _ended(stream)
    stream.skip(len(SIGNATURE))
    told: _Told | None = None
    while True:
        name, body = next_box(stream)
        if name == b"jp2h" and told is None and body is not None:
            told = _told(stream, body)
        elif name == b"jp2c":
            return _contained(stream, found, told, body)
        elif body is None:
            raise Broken("it holds no codestream")
        else:
            stream.skip(body)


def _contained(
    stream: Forward, found: Found, told: _Told | None, body: int | None
) -> int:
    """The codestream in its box, of which `body` bytes are to come."""
    if told is None:
        raise Broken("the size of its picture is missing")
    began = stream.position
    header = _codestream(stream)
    if (header.width, header.height) != told.size:
        raise Broken("its boxes and its codestream tell two sizes")
    if told.is_cmyk:
        header = Header(header.format, header.width, header.height, "CMYK")
    found(header)
    if body is None:
        return _ended(stream)
    stream.seek(began + body)
    stream.drain()
    return 1


def _ended(stream: Forward) -> int:
    """A codestream that lasts to the end of the file, and says so."""
    return 1 if stream.drain_past(_END) else 0


def _told(stream: Forward, body: int) -> _Told:
    if body > _MAX_HEADER_BYTES:
        raise Broken(f"its header has {body:,} bytes")
    size: tuple[int, int] | None = None
    is_cmyk = False
    for name, content in Boxes().children(stream.read(body), b"ihdr", b"colr"):
        if name == b"ihdr" and len(content) >= 8:
            if size is not None:
                raise Broken("it gives its size twice")
            height, width = struct.unpack_from(">II", content)
            size = (width, height)
        elif name == b"colr" and len(content) >= 7:
            is_enumerated = content[0] == 1
            is_cmyk = is_enumerated and int.from_bytes(content[3:7], "big") == _CMYK
    if size is None:
        raise Broken("the size of its picture is missing")
    return _Told(size, is_cmyk)


def _codestream(stream: Forward) -> Header:
    """The picture by the codestream's first segment."""
    if stream.read(4) != CODESTREAM:
        raise Broken("its codestream does not begin as one")
    length, _, right, below, left, above = struct.unpack(">HHIIII", stream.read(20))
    stream.skip(16)
    components = stream.number(2)
    if not 0 < components <= _MOST_COMPONENTS or length != 38 + 3 * components:
        raise Broken(f"it has {components} components in {length} bytes")
    bits = (stream.number(1) & 0x7F) + 1
    mode = _MODES.get(components, f"{components} components")
    if bits > 8:
        mode = "I;16" if components == 1 else f"{mode};{bits}"
    return Header("JPEG2000", max(0, right - left), max(0, below - above), mode)
