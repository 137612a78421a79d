"""HEIC and AVIF: a walk over the boxes of the file; sizes are properties inside its `meta` box."""

from __future__ import annotations

from collections.abc import Iterator

from handlers.headers.stream import Broken, Forward, Found, Header

_MAX_META_BYTES = 4 << 20
_SEQUENCES = {b"avis"}


def heif(stream: Forward, found: Found) -> int:
    """The largest size told is the whole picture's: tiles, thumbnails and depth maps are smaller."""
    brand, brands = b"", b""
    sized = False
    while stream.peek(1):
        name, body = _box(stream)
        if name == b"ftyp" and body is not None:
            payload = stream.read(min(body, 256))
            brand, brands = payload[:4], payload
            stream.skip(body - len(payload))
        elif name == b"meta" and not sized and body is not None and body <= _MAX_META_BYTES:
            found(_header(stream.read(body), "AVIF" if b"avif" in brands or b"avis" in brands else "HEIC"))
            sized = True
        elif body is None:
            stream.drain()
        else:
            stream.skip(body)
    if not sized:
        raise Broken("it does not tell the size of its picture")
    return 2 if brand in _SEQUENCES else 1


def _box(stream: Forward) -> tuple[bytes, int | None]:
    """Name and bytes of content of the next box; None for a box that lasts to the end of the file."""
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
    sizes = [
        (int.from_bytes(prop[4:8], "big"), int.from_bytes(prop[8:12], "big"))
        for properties in _children(meta[4:], b"iprp")
        for container in _children(properties, b"ipco")
        for prop in _children(container, b"ispe")
        if len(prop) >= 12
    ]
    if not sizes:
        raise Broken("it does not tell the size of its picture")
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return Header(format_, width, height, "RGB")


def _children(data: bytes, wanted: bytes) -> Iterator[bytes]:
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size < 8:
            return
        if data[at + 4 : at + 8] == wanted:
            yield data[at + 8 : at + size]
        at += size
