"""TIFF and BigTIFF, both byte orders: the first directory of tags, wherever in the file
it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from handlers.intake.headers.stream import Broken, Forward, Found, Header, Order

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLES = 254, 256, 257, 258, 262, 277
_SIZES = {1: 1, 3: 2, 4: 4, 16: 8}
"""Bytes of the types that hold unsigned integers."""
_MODES = {0: "L", 1: "L", 2: "RGB", 3: "P", 5: "CMYK", 6: "YCbCr", 8: "LAB"}
_MAX_TAGS = 4096


@dataclass(frozen=True)
class _Layout:
    order: Order
    count_bytes: int
    offset_bytes: int


def tiff(stream: Forward, found: Found) -> int:
    """Read the first page; further pages count as the same picture.

    Camera raw files are recognised by their preview.
    """
    order: Order = "little" if stream.read(2) == b"II" else "big"
    layout = _Layout(order, 2, 4)
    if stream.number(2, order) == 43:
        layout = _Layout(order, 8, 8)
        stream.skip(4)
    offset = stream.number(layout.offset_bytes, order)
    stream.seek(offset)
    tags = _tags(stream, layout)
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise Broken("its size is missing")
    if tags.get(_SUBFILE, 0) & 1:
        raise Broken("its first picture is only a preview, as in camera raw files")
    found(Header("TIFF", tags[_WIDTH], tags[_HEIGHT], _mode(tags)))
    stream.drain()
    return 1


def _tags(stream: Forward, layout: _Layout) -> dict[int, int]:
    count = stream.number(layout.count_bytes, layout.order)
    if not 0 < count <= _MAX_TAGS:
        raise Broken(f"its directory has {count} tags")
    tags: dict[int, int] = {}
    seen: set[int] = set()
    for _ in range(count):
        tag, kind = stream.number(2, layout.order), stream.number(2, layout.order)
        values = stream.number(layout.offset_bytes, layout.order)
        field = stream.read(layout.offset_bytes)
        size = _SIZES.get(kind, 0)
        # decoders do not agree which to believe
        if tag in seen and tag in (_WIDTH, _HEIGHT):
            raise Broken("it gives its size twice")
        seen.add(tag)
        if 0 < size <= layout.offset_bytes and values == 1:
            value = int.from_bytes(field[:size], layout.order)
            tags.setdefault(tag, value)
    return tags


def _mode(tags: dict[int, int]) -> str:
    photometric = tags.get(_PHOTOMETRIC, 1)
    mode = _MODES.get(photometric, "unknown")
    usual_bits = 1 if tags.get(_SAMPLES, 1) == 1 else 8
    bits = tags.get(_BITS, usual_bits)
    if mode == "L" and bits == 1:
        return "1"
    if mode == "L" and bits == 16:
        return "I;16"
    return mode if bits == 8 else f"{mode};{bits}"
