"""HEIC and AVIF: a walk over the boxes of the file; sizes are properties inside its
`meta` box.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from handlers.intake.headers.stream import Broken, Forward, Found, Header

_MAX_META_BYTES = 4 << 20
_MAX_BOXES = 10_000
"""Most boxes looked at inside `meta`. Photos of phones have some dozens."""
_SEQUENCES = {b"avis"}


def heif(stream: Forward, found: Found) -> int:
    """The largest size given is the whole picture's: tiles, thumbnails and depth maps
    are smaller.
    """
    brand, brands = b"", b""
    sized = False
    while stream.peek(1):
        name, body = _box(stream)
        if name == b"ftyp" and body is not None:
            payload = stream.read(min(body, 256))
            brand, brands = payload[:4], payload
            stream.skip(body - len(payload))
        elif (
            name == b"meta"
            and not sized
            and body is not None
            and body <= _MAX_META_BYTES
        ):
            found(
                _header(
                    stream.read(body),
                    "AVIF" if b"avif" in brands or b"avis" in brands else "HEIC",
                )
            )
            sized = True
        elif body is None:
            stream.drain()
        else:
            stream.skip(body)
    if not sized:
        raise Broken("the size of its picture is missing")
    return 2 if brand in _SEQUENCES else 1


def _box(stream: Forward) -> tuple[bytes, int | None]:
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


def _header(meta: bytes, format_: str) -> Header:
    sizes, cuts = [], []
    boxes = _Boxes()
    for _, properties in boxes.children(meta[4:], b"iprp"):
        for _, container in boxes.children(properties, b"ipco"):
            for name, prop in boxes.children(container, b"ispe", b"clap"):
                if name == b"ispe" and len(prop) >= 12:
                    sizes.append(struct.unpack_from(">II", prop, 4))
                elif name == b"clap" and len(prop) >= 16:
                    cuts.append(_cut(prop))
    if not sizes:
        raise Broken("the size of its picture is missing")
    # A cut that is larger than its picture is no cut, but decoders believe it until
    # they decode.
    width, height = max((*sizes, *cuts), key=lambda size: size[0] * size[1])
    return Header(format_, width, height, "RGB")


def _cut(clap: bytes) -> tuple[int, int]:
    """Width and height that are left by a cut, both given as fractions; an impossible
    one says nothing.
    """
    width, per_width, height, per_height = struct.unpack_from(">IIII", clap)
    return (
        (-(-width // per_width), -(-height // per_height))
        if per_width and per_height
        else (0, 0)
    )


class _Boxes:
    """A reader of boxes inside boxes, that counts them."""

    def __init__(self) -> None:
        self._left = _MAX_BOXES

    def children(self, data: bytes, *wanted: bytes) -> Iterator[tuple[bytes, bytes]]:
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
