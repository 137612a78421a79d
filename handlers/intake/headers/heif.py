"""HEIC and AVIF: a walk over the boxes of the file; sizes are properties inside its
`meta` box.
"""

from __future__ import annotations

import struct

from handlers.intake.headers.boxes import Boxes, next_box
from handlers.intake.headers.stream import Broken, Forward, Found, Header

_MAX_META_BYTES = 4 << 20
_SEQUENCES = {b"avis"}


def heif(stream: Forward, found: Found) -> int:
    """The largest size given is the whole picture's: tiles, thumbnails and depth maps
    are smaller.
    """
    brand, brands = b"", b""
    sized = False
    while stream.peek(1):
        name, body = next_box(stream)
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


def _header(meta: bytes, format_: str) -> Header:
    sizes, cuts = [], []
    boxes = Boxes()
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
