"""Photoshop's PSD: a header of fixed length, and four blocks that tell their lengths
before the composite picture.
"""

from __future__ import annotations

import struct

from handlers.intake.headers.stream import Broken, Forward, Found, Header

_MODES = {
    0: "1",
    1: "L",
    2: "P",
    3: "RGB",
    4: "CMYK",
    7: "multichannel",
    8: "L",
    9: "LAB",
}
_MOST_CHANNELS, _MOST_ROWS = 56, 30_000
_RAW, _PACKED = 0, 1


def psd(stream: Forward, found: Found) -> int:
    """The composite is the picture; layers are passed over."""
    stream.skip(4)
    version = stream.number(2)
    if version != 1:
        raise Broken(f"it is of version {version}, as large documents (PSB) are")
    stream.skip(6)
    channels, height, width, bits, colours = struct.unpack(">HIIHH", stream.read(14))
    mode = _MODES.get(colours, "unknown")
    found(Header("PSD", width, height, mode if bits in (1, 8) else f"{mode};{bits}"))
    if not 0 < channels <= _MOST_CHANNELS or height > _MOST_ROWS:
        raise Broken(f"it has {channels} channels and {height} rows")
    for _ in ("colours", "resources", "layers"):
        stream.skip(stream.number(4))
    packing = stream.number(2)
    if packing == _RAW:
        stream.skip(channels * height * -(-width * bits // 8))
    elif packing == _PACKED:
        rows = channels * height
        stream.skip(sum(struct.unpack(f">{rows}H", stream.read(2 * rows))))
    else:
        raise Broken("its composite is packed in a way that only Photoshop reads")
    stream.drain()
    return 1
