"""Whether a PNG holds all of its rows: its decoder fills up in silence what a stream
that ends early leaves out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from isal import isal_zlib

_PIECE_BYTES = 1 << 16
_ROWS_BYTES = 1 << 20
_SIGNATURE_BYTES = 8
_CHUNK_HEAD_BYTES = 8
_CHUNK_CHECKSUM_BYTES = 4
_HEADER_AT = 16
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel, by PNG's colour type."""
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
"""Left, top and the steps across and down of the seven passes of an interlaced picture.
"""
_ONE_PASS = ((0, 0, 1, 1),)


def is_whole(data: bytes) -> bool:
    """Whether `data`, a PNG whose chunks are sound, holds all of its rows.

    Its pixels are unpacked piece by piece, no further than they are needed.
    """
    header = struct.unpack_from(">IIBBxxB", data, _HEADER_AT)
    missing = _row_bytes(*header)
    stream = isal_zlib.decompressobj()
    for piece in _pixel_data(data):
        while missing > 0 and not stream.eof:
            rows = stream.decompress(piece, _ROWS_BYTES)
            missing -= len(rows)
            piece = stream.unconsumed_tail
            if not rows and not piece:
                break
    return missing <= 0


def _row_bytes(
    width: int,
    height: int,
    depth: int,
    colour: int,
    interlaced: int,
) -> int:
    """The bytes of all rows, each with its filter type in front."""
    bits = depth * _SAMPLES[colour]
    total = 0
    for left, top, across, down in _ADAM7 if interlaced else _ONE_PASS:
        columns = (width - left + across - 1) // across
        rows = (height - top + down - 1) // down
        if columns > 0:
            row_bytes = (columns * bits + 7) // 8
            total += rows * (1 + row_bytes)
    return total


def _pixel_data(data: bytes) -> Iterator[bytes]:
    """The contents of the IDAT chunks, in pieces: what is left of a piece is copied at
    every turn.
    """
    at = _SIGNATURE_BYTES
    while at + _CHUNK_HEAD_BYTES <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        start = at + _CHUNK_HEAD_BYTES
        end = start + length
        if name == b"IDAT":
            for piece in range(start, end, _PIECE_BYTES):
                yield data[piece : min(piece + _PIECE_BYTES, end)]
        at = end + _CHUNK_CHECKSUM_BYTES
