"""Photoshop files, by the letter of its specification: nothing here can write them."""

from __future__ import annotations

import struct
from typing import Any

from numpy.typing import NDArray

COLOURS = {1: 1, 3: 3, 4: 4}
"""Photoshop's numbers of grey, RGB and CMYK, by the channels that they have."""


def resource(number: int, block: bytes) -> bytes:
    """An image resource without a name."""
    filled = block + bytes(len(block) % 2)
    return b"8BIM" + struct.pack(">HHI", number, 0, len(block)) + filled


def psd(
    array: NDArray[Any],
    *resources: bytes,
    colours: int | None = None,
    layers: int = 0,
    packed: bool = False,
) -> bytes:
    """A file with the composite `array`, (height, width, channels) of 8 or 16 bits.

    `layers`: their number, below zero where the composite is transparent.
    """
    height, width, channels = array.shape
    bits = 8 * array.dtype.itemsize
    colours = colours or COLOURS[channels]
    head = struct.pack(
        ">4sH6xHIIHH", b"8BPS", 1, channels, height, width, bits, colours
    )
    blocks = b"".join(resources)
    layer_info = struct.pack(">Ih", 2, layers) if layers else b""
    counted = [
        struct.pack(">I", len(each)) + each for each in (b"", blocks, layer_info)
    ]
    planes = array.astype(array.dtype.newbyteorder(">")).transpose(2, 0, 1)
    if not packed:
        return b"".join((head, *counted, bytes(2), planes.tobytes()))
    rows = [_packed(row.tobytes()) for plane in planes for row in plane]
    lengths = struct.pack(f">{len(rows)}H", *map(len, rows))
    return b"".join((head, *counted, b"\0\1", lengths, *rows))


def _packed(row: bytes) -> bytes:
    """PackBits, in literal runs only."""
    pieces = [row[start : start + 128] for start in range(0, len(row), 128)]
    return b"".join(bytes([len(piece) - 1]) + piece for piece in pieces)
