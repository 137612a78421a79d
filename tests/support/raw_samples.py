"""Camera raw files that are made here: a sensor of four colours over a gradient, laid out
as the files of several makers are. No camera made them.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

CFA_PATTERN = bytes([0, 1, 1, 2])
WHITE = 4095
IDENTITY = [(1, 1), (0, 1), (0, 1), (0, 1), (1, 1), (0, 1), (0, 1), (0, 1), (1, 1)]
LIGHT = 0.8
_SENSOR = 32803
_PREVIEW = np.full((8, 12, 3), 128, np.uint8)
_CFA_TAGS = [(33421, "H", 2, (2, 2), True), (33422, "B", 4, CFA_PATTERN, True)]
_CAPTION = (270, "s", 0, "A lake, raw", True)

Mosaic = NDArray[np.uint16]


def mosaic(width: int = 96, height: int = 64) -> Mosaic:
    """Red grows to the right, green downward, blue is the same everywhere; 12 bits."""
    row, column = np.mgrid[:height, :width]
    is_red = (row % 2 == 0) & (column % 2 == 0)
    is_blue = (row % 2 == 1) & (column % 2 == 1)
    green = np.where(is_blue, 0.5, row / height)
    light = np.where(is_red, column / width, green)
    return (light * WHITE * LIGHT).astype(np.uint16)


def dng(width: int = 96, height: int = 64) -> bytes:
    """The sensor's picture is the first one."""
    matrix = tuple(number for pair in IDENTITY for number in pair)
    tags = [
        _CAPTION,
        (271, "s", 0, "Maker", True),
        *_CFA_TAGS,
        (50706, "B", 4, bytes([1, 4, 0, 0]), True),
        (50708, "s", 0, "Maker Model", True),
        (50717, "I", 1, WHITE, True),
        (50721, "2i", 9, matrix, True),
        (50728, "2I", 3, (1, 1, 1, 1, 1, 1), True),
        (50778, "H", 1, 21, True),
    ]
    return _written(mosaic(width, height), tags)


def pef() -> bytes:
    """As Pentax has it: a TIFF whose only picture is the sensor's."""
    return _written(mosaic(), [*_camera("PENTAX", "PENTAX K-5"), *_CFA_TAGS])


def below_preview(make: str, model: str) -> bytes:
    """As NEF, ARW and SRW are laid out: below a preview, beside a larger one."""
    out = io.BytesIO()
    options: dict[str, Any] = {"metadata": None, "description": None}
    with tifffile.TiffWriter(out) as file:
        tags = _camera(make, model)
        common = {"photometric": "rgb", "subfiletype": 1, **options}
        file.write(_PREVIEW, subifds=2, extratags=tags, **common)
        file.write(np.tile(_PREVIEW, (2, 2, 1)), **common)
        sensor = {"photometric": _SENSOR, "subfiletype": 0, **options}
        file.write(mosaic(), extratags=_CFA_TAGS, **sensor)
    return out.getvalue()


def cr2(width: int = 96, height: int = 64) -> bytes:
    """As Canon has it: the sensor's picture is a lossless JPEG of two components."""
    jpeg = lossless_jpeg(mosaic(width, height))
    names = b"Canon\0Canon EOS 5D Mark II\0"
    first_at, names_at, raw_at, jpeg_at = 16, 200, 256, 400
    preview_at = jpeg_at + len(jpeg)
    first = _directory(
        *[(254, 4, 1, 0), (256, 3, 1, 12), (257, 3, 1, 8), (258, 3, 1, 8)],
        *[(259, 3, 1, 1), (262, 3, 1, 2), (271, 2, 6, names_at)],
        *[(272, 2, 21, names_at + 6), (273, 4, 1, preview_at), (277, 3, 1, 3)],
        *[(278, 4, 1, 8), (279, 4, 1, _PREVIEW.nbytes)],
        following=raw_at,
    )
    raw = _directory((259, 3, 1, 6), (273, 4, 1, jpeg_at), (279, 4, 1, len(jpeg)))
    head = struct.pack("<2sHI2sHI", b"II", 42, first_at, b"CR", 2, raw_at)
    laid = bytearray(preview_at)
    for at, part in (
        (0, head),
        (first_at, first),
        (names_at, names),
        (raw_at, raw),
        (jpeg_at, jpeg),
    ):
        laid[at : at + len(part)] = part
    return bytes(laid) + _PREVIEW.tobytes()


def lossless_jpeg(pixels: Mosaic) -> bytes:
    """A lossless JPEG (ITU-T T.81, process 14) whose two components are the even and the
    odd columns; 12 bits, each predicted by the one on its left.
    """
    height, width = pixels.shape
    # Sixteen classes of differences with codes of five bits.
    table = bytes([0x00, *(0, 0, 0, 0, 16), *bytes(11), *range(16)])
    frame = struct.pack(">BHHB", 12, height, width // 2, 2)
    frame += bytes([1, 0x11, 0, 2, 0x11, 0])
    scan = bytes([2, 1, 0x00, 2, 0x00, 1, 0, 0])
    bits = "".join(_codes(pixels))
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    segments = [(0xC4, table), (0xC3, frame), (0xDA, scan)]
    head = b"".join(
        struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body
        for marker, body in segments
    )
    return b"\xff\xd8" + head + data + b"\xff\xd9"


def _codes(pixels: Mosaic) -> Iterator[str]:
    """The code of each sample: the class of its difference, and the difference."""
    for number, row in enumerate(pixels.astype(int)):
        above = pixels[number - 1, :2].astype(int) if number else [1 << 11] * 2
        for column, value in enumerate(row):
            guess = row[column - 2] if column >= 2 else above[column]
            difference = int(value - guess)
            size = abs(difference).bit_length()
            yield f"{size:05b}"
            if size:
                low = difference if difference > 0 else difference + (1 << size) - 1
                yield f"{low:0{size}b}"


def _written(pixels: Mosaic, tags: list[Any]) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(
        out,
        pixels,
        photometric=_SENSOR,
        metadata=None,
        description=None,
        extratags=tags,
    )
    return out.getvalue()


def _camera(make: str, model: str) -> list[Any]:
    return [_CAPTION, (271, "s", 0, make, True), (272, "s", 0, model, True)]


def _directory(*entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    packed = struct.pack("<H", len(entries))
    for tag, kind, count, value in entries:
        packed += struct.pack("<HHII", tag, kind, count, value)
    return packed + struct.pack("<I", following)
