"""The EXIF block of a result, as the decoder's process made it: its resolution is set
when it is written.

Of the block only the first directory is looked at, entry by entry, and nothing of it is
believed: an entry that does not fit is passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from gpu_worker.photo import Metadata

_HEADERS = {b"II*\0": "<", b"MM\0*": ">"}
_HEADER_BYTES = 8
_ENTRY_BYTES = 12
_RATIONAL = 5
_RATIONAL_BYTES = 8
_SHORT = 3
_X_RESOLUTION, _Y_RESOLUTION, _UNIT = 282, 283, 296
_INCH = 2
_PARTS = 1000
"""Denominator of a resolution."""


def with_dpi(exif: bytes, dpi: tuple[float, float] | None) -> bytes:
    """The block with this resolution in the place of the one that it gives, if it gives
    one.
    """
    if dpi is None:
        return exif
    changed = bytearray(exif)
    order = byte_order(exif)
    for entry in entries(exif):
        tag, kind, count, offset = struct.unpack(f"{order}HHII", entry)
        if tag not in (_X_RESOLUTION, _Y_RESOLUTION) or (kind, count) != (_RATIONAL, 1):
            continue
        if _HEADER_BYTES <= offset <= len(exif) - _RATIONAL_BYTES:
            value = dpi[0] if tag == _X_RESOLUTION else dpi[1]
            parts = round(value * _PARTS)
            struct.pack_into(f"{order}II", changed, offset, parts, _PARTS)
    return bytes(changed)


def block(meta: Metadata) -> bytes:
    """The EXIF of a result, with its resolution; empty where there is nothing to say.

    Formats without a place of their own for a resolution have it here.
    """
    if meta.exif:
        return with_dpi(meta.exif, meta.dpi)
    if meta.dpi is None:
        return b""
    values_at = _HEADER_BYTES + 2 + 3 * _ENTRY_BYTES + 4
    entries_of = (
        struct.pack("<HHII", _X_RESOLUTION, _RATIONAL, 1, values_at)
        + struct.pack("<HHII", _Y_RESOLUTION, _RATIONAL, 1, values_at + _RATIONAL_BYTES)
        + struct.pack("<HHII", _UNIT, _SHORT, 1, _INCH)
    )
    head = b"II*\0" + struct.pack("<IH", _HEADER_BYTES, 3)
    values = struct.pack("<IIII", 0, 1, 0, 1)
    return with_dpi(head + entries_of + bytes(4) + values, meta.dpi)


def byte_order(exif: bytes) -> str:
    """`<` or `>`, as `struct` has it; empty for what is no such block."""
    return _HEADERS.get(exif[:4], "")


def entries(exif: bytes) -> Iterator[bytes]:
    """The entries of the first directory, 12 bytes each, as they are."""
    order = byte_order(exif)
    if not order or len(exif) < _HEADER_BYTES:
        return
    (at,) = struct.unpack_from(f"{order}I", exif, 4)
    if at + 2 > len(exif):
        return
    (count,) = struct.unpack_from(f"{order}H", exif, at)
    for start in range(at + 2, at + 2 + count * _ENTRY_BYTES, _ENTRY_BYTES):
        if start + _ENTRY_BYTES > len(exif):
            return
        yield exif[start : start + _ENTRY_BYTES]
