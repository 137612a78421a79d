"""Where the fields of a file's structure lie, for each format: what a hostile file gets
wrong on purpose.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
Field = tuple[int, int]
"""Offset and length in bytes."""


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG with its checksum."""
    return (
        struct.pack(">I", len(body))
        + kind
        + body
        + struct.pack(">I", zlib.crc32(kind + body))
    )


def _png(data: bytes) -> Iterator[Field]:
    at = 8
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield from ((at, 4), (at + 4, 4), (at + 8 + length, 4))
        if kind == b"IHDR":
            yield from (
                (at + 8, 4),
                (at + 12, 4),
                *((at + 16 + n, 1) for n in range(5)),
            )
        elif length > 4:
            yield at + 8, 2
        at += 12 + length


def _jpeg(data: bytes) -> Iterator[Field]:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        yield from ((at, 2), (at + 2, 2))
        yield from ((at + 4 + n, 1) for n in range(min(length - 2, 9)) if marker < 0xE0)
        if marker == 0xDA:
            yield at + 2 + length + 5, 4
            break
        at += 2 + length
    yield len(data) - 2, 2


def _webp(data: bytes) -> Iterator[Field]:
    yield from ((4, 4), (8, 4))
    at = 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        yield from (
            (at, 4),
            (at + 4, 4),
            (at + 8, 1),
            (at + 9, 2),
            (at + 11, 3),
            (at + 14, 2),
            (at + 16, 2),
        )
        at += 8 + length + length % 2


def _tiff(data: bytes) -> Iterator[Field]:
    yield from ((2, 2), (4, 4))
    at = int.from_bytes(data[4:8], "little")
    (count,) = struct.unpack_from("<H", data, at)
    yield at, 2
    for n in range(count):
        entry = at + 2 + 12 * n
        yield from ((entry, 2), (entry + 2, 2), (entry + 4, 4), (entry + 8, 4))
    yield at + 2 + 12 * count, 4


def _bmp(data: bytes) -> Iterator[Field]:
    yield from (
        (2, 4),
        (10, 4),
        (14, 4),
        (18, 4),
        (22, 4),
        (26, 2),
        (28, 2),
        (30, 4),
        (34, 4),
        (46, 4),
        (50, 4),
    )


def _gif(data: bytes) -> Iterator[Field]:
    yield from ((6, 2), (8, 2), (10, 1), (11, 1), (12, 1))
    at = 13 + 3 * 2 ** ((data[10] & 7) + 1) * (data[10] >> 7)
    while data[at] != 0x3B:
        yield at, 1
        if data[at] == 0x2C:
            yield from ((at + offset, 2) for offset in (1, 3, 5, 7))
            yield from ((at + offset, 1) for offset in (9, 10))
            flags = data[at + 9]
            has_table = flags >> 7
            colours = 2 ** ((flags & 7) + 1)
            at += 11 + 3 * colours * has_table
        else:
            at += 2
        while data[at]:
            yield at, 1
            at += data[at] + 1
        at += 1
    yield at, 1


_NESTED = {b"meta": 12, b"iprp": 8, b"ipco": 8, b"dinf": 8, b"iinf": 14, b"iref": 12}


def _heif(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Field]:
    at, end = start, len(data) if end is None else end
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        yield from ((at, 4), (at + 4, 4), (at + 8, 4), (at + 12, 4))
        if kind in _NESTED:
            yield from _heif(data, at + _NESTED[kind], at + size)
        elif kind in (b"ispe", b"iloc", b"ipma", b"hvcC", b"av1C", b"pixi"):
            yield from ((n, 4) for n in range(at + 16, at + min(size, 40) - 3, 4))
        at += max(size, 8)


def _jp2(data: bytes) -> Iterator[Field]:
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        yield from ((at, 4), (at + 4, 4))
        if kind == b"jp2h":
            at += 8
            continue
        if kind in (b"ihdr", b"colr"):
            yield from ((n, 2) for n in range(at + 8, at + size - 1, 2))
        if kind == b"jp2c":
            yield from ((n, 2) for n in range(at + 8, at + 100, 2))
        at += max(size, 8)


def _psd(data: bytes) -> Iterator[Field]:
    yield from ((4, 2), (12, 2), (14, 4), (18, 4), (22, 2), (24, 2))
    at = 26
    for _ in range(3):
        yield at, 4
        yield at + 4, 4
        at += 4 + int.from_bytes(data[at : at + 4], "big")
    yield from ((at + n, 2) for n in range(0, 20, 2))


FIELDS: dict[str, Callable[[bytes], Iterator[Field]]] = {
    "png": _png,
    "jpg": _jpeg,
    "webp": _webp,
    "tif": _tiff,
    "bmp": _bmp,
    "gif": _gif,
    "avif": _heif,
    "heic": _heif,
    "jp2": _jp2,
    "psd": _psd,
}
