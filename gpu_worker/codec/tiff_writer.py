"""A TIFF of a `Photo`, written strip by strip in bounded memory: 8 and 16 bits, deflated
with a predictor, with profile, XMP, resolution and EXIF.

An EXIF block is itself a small TIFF. It lies at the beginning of the file, so that its
fields stay where their entries say, and its entries go into the picture's directory;
the file has its byte order.
"""

from __future__ import annotations

import struct
from typing import IO, Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from gpu_worker.codec import exif, profiles
from gpu_worker.photo import Photo
from gpu_worker.pixels import scratch
from shared.runtime.heartbeat import own

MOST_BYTES = 4_000_000_000
"""Offsets in a TIFF have 32 bits."""
_STRIP_BYTES = 1 << 20
_BYTE, _SHORT, _LONG, _RATIONAL, _UNDEFINED = 1, 3, 4, 5, 7
_CODES = {_SHORT: "H", _LONG: "I"}
_DEFLATE = 8
_HORIZONTAL = 2
_GREY, _RGB = 1, 2
_STRAIGHT_ALPHA = 2
_INCH = 2
_PARTS = 1000
_DIRECTORY_AT = 4
_ENTRY_ROOM = 4

Entry = tuple[int, int, Any]
"""Tag, type, and its numbers; a resolution as one number, bytes as they are."""


def write_tiff(photo: Photo, out: IO[bytes], xmp: str, icc: bytes | None) -> None:
    """Write `photo` into an empty file. Raises `ValueError` for one that is too large."""
    if (
        photo.pixels.nbytes + (0 if photo.alpha is None else photo.alpha.nbytes)
        > MOST_BYTES
    ):
        raise ValueError("the picture is too large for a TIFF")
    block = exif.block(photo.meta)
    order = exif.byte_order(block) or "<"
    out.write(block if block else b"II*\0\0\0\0\0")
    entries = _layout(photo)
    rows, places = _write_strips(photo, out, order)
    entries += [
        (273, _LONG, [at for at, _ in places]),
        (278, _LONG, [rows]),
        (279, _LONG, [length for _, length in places]),
        (700, _BYTE, xmp.encode()),
    ]
    if icc and profiles.fits(icc, photo.pixels.shape[2]):
        entries.append((34675, _UNDEFINED, icc))
    _write_directory(out, entries, list(exif.entries(block)), order)


def _layout(photo: Photo) -> list[Entry]:
    channels = int(photo.pixels.shape[2])
    samples = channels if photo.alpha is None else channels + 1
    bits = photo.pixels.dtype.itemsize * 8
    entries: list[Entry] = [
        (254, _LONG, [0]),
        (256, _LONG, [photo.width]),
        (257, _LONG, [photo.height]),
        (258, _SHORT, [bits] * samples),
        (259, _SHORT, [_DEFLATE]),
        (262, _SHORT, [_GREY if channels == 1 else _RGB]),
        (277, _SHORT, [samples]),
        (284, _SHORT, [1]),
        (317, _SHORT, [_HORIZONTAL]),
    ]
    if photo.alpha is not None:
        entries.append((338, _SHORT, [_STRAIGHT_ALPHA]))
    if photo.meta.dpi:
        across, down = photo.meta.dpi
        entries += [
            (282, _RATIONAL, across),
            (283, _RATIONAL, down),
            (296, _SHORT, [_INCH]),
        ]
    return entries


def _write_strips(
    photo: Photo, out: IO[bytes], order: str
) -> tuple[int, list[tuple[int, int]]]:
    """Rows of a strip, and the place and length of each."""
    row_bytes = photo.pixels[0].nbytes
    rows = max(1, _STRIP_BYTES // row_bytes)
    places = []
    for top in range(0, photo.height, rows):
        own().beat()
        strip = isal_zlib.compress(_differences(photo, top, top + rows, order), 1)
        places.append((out.tell(), len(strip)))
        out.write(strip)
        scratch.drop_rows(photo, top, top + rows)
    return rows, places


def _differences(photo: Photo, top: int, bottom: int, order: Any) -> bytes:
    """Rows in which each sample but the first is what it adds to its left neighbour."""
    block: NDArray[Any] = photo.pixels[top:bottom]
    if photo.alpha is not None:
        alpha = photo.alpha[top:bottom, :, np.newaxis]
        block = np.concatenate((block, alpha), axis=2)
    changes = block.copy()
    changes[:, 1:] -= block[:, :-1]
    return changes.astype(changes.dtype.newbyteorder(order), copy=False).tobytes()


def _write_directory(
    out: IO[bytes], entries: list[Entry], kept: list[bytes], order: str
) -> None:
    """Write what does not fit into an entry, then the directory, and say where it is."""
    packed = {}
    for entry in kept:
        (tag,) = struct.unpack_from(f"{order}H", entry)
        packed[tag] = entry
    for tag, kind, value in entries:
        packed[tag] = _entry(out, tag, kind, value, order)
    at = _aligned(out)
    out.write(struct.pack(f"{order}H", len(packed)))
    for tag in sorted(packed):
        out.write(packed[tag])
    out.write(struct.pack(f"{order}I", 0))
    out.seek(_DIRECTORY_AT)
    out.write(struct.pack(f"{order}I", at))


def _entry(out: IO[bytes], tag: int, kind: int, value: Any, order: str) -> bytes:
    data, count = _data(kind, value, order)
    if len(data) > _ENTRY_ROOM:
        at = _aligned(out)
        out.write(data)
        data = struct.pack(f"{order}I", at)
    header = struct.pack(f"{order}HHI", tag, kind, count)
    return header + data.ljust(_ENTRY_ROOM, b"\0")


def _data(kind: int, value: Any, order: str) -> tuple[bytes, int]:
    """The value of an entry, and how many numbers it has."""
    if kind == _RATIONAL:
        return struct.pack(f"{order}II", round(value * _PARTS), _PARTS), 1
    if isinstance(value, bytes):
        return value, len(value)
    count = len(value)
    return struct.pack(f"{order}{count}{_CODES[kind]}", *value), count


def _aligned(out: IO[bytes]) -> int:
    """The file's end, at an even place."""
    at = out.tell()
    out.write(b"\0" * (at % 2))
    return at + at % 2
