"""BMP: the file header and whichever of its information headers follows."""

from __future__ import annotations

from handlers.intake.headers.stream import Broken, EndOfData, Forward, Found, Header

_OS2_HEADER_BYTES = 12
_MODES = {1: "1", 4: "P", 8: "P", 16: "RGB", 24: "RGB", 32: "RGB"}


def bmp(stream: Forward, found: Found) -> int:
    stream.skip(10)
    start, size = stream.number(4, "little"), stream.number(4, "little")
    side = 2 if size == _OS2_HEADER_BYTES else 4
    width, height = stream.number(side, "little"), stream.number(side, "little")
    # negative, as decoders see it: the rows run from top to bottom
    if height >> 24 == 0xFF:
        height = (1 << 32) - height
    stream.skip(2)
    bits = stream.number(2, "little")
    compressed = side == 4 and stream.number(4, "little") != 0
    if bits not in _MODES or width >> 31:
        raise Broken(f"a width of {width} with {bits} bits a pixel does not exist")
    found(Header("BMP", width, height, _MODES[bits]))
    stream.drain()
    rows_bytes = (width * bits + 31) // 32 * 4 * height
    if not compressed and stream.bytes < start + rows_bytes:
        raise EndOfData
    return 1
