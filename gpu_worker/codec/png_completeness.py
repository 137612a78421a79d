"""Whether a PNG holds all of its rows: its decoder fills up in silence what a stream
that ends early leaves out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from isal import isal_zlib

_PIECE_BYTES = 1 << 16
_ROWS_BYTES = 1 << 20
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
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


def is_whole(data: bytes) -> bool:
    """`data`: a PNG whose chunks are sound. Unpacks its pixels piece by piece, no
    further than they are needed.
    """
    missing = _row_bytes(*struct.unpack_from(">IIBBxxB", data, 16))
    stream = isal_zlib.decompressobj()
    for piece in _pixels(data):
        while missing > 0 and not stream.eof:
            rows = stream.decompress(piece, _ROWS_BYTES)
            missing -= len(rows)
            piece = stream.unconsumed_tail
            if not rows and not piece:
                break
    return missing <= 0


def _row_bytes(
    width: int, height: int, depth: int, colour: int, interlaced: int
) -> int:
    """All rows, each with its filter type in front."""
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = [
        ((width - x + across - 1) // across, (height - y + down - 1) // down)
        for x, y, across, down in passes
    ]
    return sum(
        rows * (1 + (columns * depth * _SAMPLES[colour] + 7) // 8)
        for columns, rows in sizes
        if columns > 0
    )


def _pixels(data: bytes) -> Iterator[bytes]:
    at = 8
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"IDAT":
            # what is left of one is copied at every turn
            for start in range(at + 8, at + 8 + length, _PIECE_BYTES):
                yield data[start : min(start + _PIECE_BYTES, at + 8 + length)]
        at += 12 + length
