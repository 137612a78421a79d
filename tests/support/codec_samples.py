"""Pictures for the codec's tests, and a PNG reader that shares no code with the writer."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from gpu_worker.codec import Limits
from shared import workflows
from shared.workflows import ResolvedStep, ResolvedWorkflow

LIMITS = Limits()
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)

# 16 x 24, quarters red green / blue white, stored turned (EXIF and `irot` 6), 8-bit
# HEVC.
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAcdtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAADRpbG9jAA"
    "AAAERAAAIAAQAAAAAB6wABAAAAAAAAAGsAAgAAAAACVgABAAAAAAAAADgAAAA4aWluZgAAAAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVp"
    "bmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAABBmlwcnAAAADlaXBjbwAAAHVodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGE"
    "ABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQApQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqrprm4CGgwIAAAAyAAAADAIRiAAEABkQBwXPBiQAA"
    "ABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAAChjbGFwAAAAGAAAAAEAAAAQAAAAAf///9gAAAAC////0AAAAAIAAAAQcG"
    "l4aQAAAAADCAgIAAAACWlyb3QDAAAAGWlwbWEAAAAAAAAAAQABBoECAwWEhgAAABppcmVmAAAAAAAAAA5jZHNjAAIAAQABAAAAq21kYXQAAABn"
    "KAGvCch4okNAI5mfP9u//z5yFVhfJPWCeIIwUK6qvT8uDylZG5sHpPpf0Jb+uK/pPYLqHbLSjPCjwzVVet3efgVt1iu9V19zAbveN/dx9P6Bhr"
    "RtPz/7P0Dn/gmqBW3d4pe+4iMewAAAAAZFeGlmAABNTQAqAAAACAACAQ8AAgAAAAcAAAAmARIAAwAAAAEABgAAAAAAAE1ha2VyWAAA"
)

# 8 x 8, 40000 of 65535 everywhere, stored with 10 bits.
HEIC_OF_TEN_BITS = base64.b64decode(
    "AAAAHGZ0eXBoZWl4AAAAAG1pZjFoZWl4bWlhZgAAAXxtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAAAA"
    "AERAAAEAAQAAAAABoAABAAAAAAAAACcAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/GlwcnAAAADc"
    "aXBjbwAAAHVodmNDAQQIAAAAnbgAAAAAHvAA/P36+gAADwNgAAEAF0ABDAH//wQIAAADAJ24AAADAAAeugJAYQABACpCAQEECAAAAwCduAAAAwAA"
    "HqAggQTZbqrprm4CGgwIAAADAMgAAAMACEBiAAEABkQBwXPBiQAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAAChjbGFw"
    "AAAACAAAAAEAAAAIAAAAAf///8gAAAAC////yAAAAAIAAAAQcGl4aQAAAAADCgoKAAAAGGlwbWEAAAAAAAAAAQABBYECAwWEAAAAL21kYXQAAAAj"
    "KAGvEyEtUva1onv/vfsq+We1gLqGrtYCoJUllXXyiXJnI+A="
)


def quarters(height: int = 16, width: int = 24) -> NDArray[np.uint8]:
    """Red, green / blue, white: every turn and mirror image of it is another picture."""
    picture = np.empty((height, width, 3), np.uint8)
    top = height // 2
    left = width // 2
    picture[:top, :left] = RED
    picture[:top, left:] = GREEN
    picture[top:, :left] = BLUE
    picture[top:, left:] = WHITE
    return picture


def noise(shape: tuple[int, ...], dtype: Any = np.uint8, seed: int = 0) -> NDArray[Any]:
    top = int(np.iinfo(dtype).max)
    return np.random.default_rng(seed).integers(0, top, shape, dtype, endpoint=True)


def saved(image: Image.Image | NDArray[Any], kind: str, **options: Any) -> bytes:
    """`image` in the file format `kind`, by Pillow."""
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def tiff(array: NDArray[Any], **options: Any) -> bytes:
    """`array` as TIFF, by tifffile."""
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def png(array: NDArray[Any], *chunks: tuple[bytes, bytes], interlace: int = 0) -> bytes:
    """A plain PNG of (height, width, samples) of any depth with further chunks: what
    Pillow cannot write.
    """
    height, width, samples = array.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[samples]
    stored = array.astype(array.dtype.newbyteorder(">"))
    raw = b"".join(b"\0" + row.tobytes() for row in stored)
    bits = array.dtype.itemsize * 8
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace)
    pixels = zlib.compress(raw)
    body = [(b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    written = b"".join(_chunk(*chunk) for chunk in body)
    return b"\x89PNG\r\n\x1a\n" + written


def _chunk(kind: bytes, data: bytes) -> bytes:
    return (
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data))
    )


def read_png(data: bytes) -> tuple[NDArray[Any], list[tuple[bytes, bytes]]]:
    """(height, width, samples) and every chunk, by the letter of the PNG specification;
    checks each CRC.
    """
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = [], 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length)[0] == zlib.crc32(
            kind + body
        ), kind
        chunks.append((kind, body))
        at += 12 + length
    assert chunks[-1] == (b"IEND", b"")
    width, height, bits, colour = struct.unpack_from(">IIBB", chunks[0][1])
    samples = {0: 1, 4: 2, 2: 3, 6: 4}[colour]
    raw = zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
    step = samples * bits // 8
    rows = _unfiltered(raw, height, width * step, step)
    return rows.view(">u2" if bits == 16 else np.uint8).reshape(
        height, width, samples
    ), chunks


def _unfiltered(
    raw: bytes, height: int, row_bytes: int, step: int
) -> NDArray[np.uint8]:
    assert len(raw) == height * (row_bytes + 1)
    rows = np.zeros((height, row_bytes), np.uint8)
    above = bytes(row_bytes)
    for y in range(height):
        start = y * (row_bytes + 1)
        kind, line = raw[start], bytearray(raw[start + 1 : start + 1 + row_bytes])
        for x in range(row_bytes):
            left = line[x - step] if x >= step else 0
            guess = {0: 0, 1: left, 2: above[x], 3: (left + above[x]) // 2}[kind]
            line[x] = (line[x] + guess) % 256
        above = bytes(line)
        rows[y] = np.frombuffer(above, np.uint8)
    return rows


def workflow(*kinds: str) -> ResolvedWorkflow:
    """A workflow of steps of `kinds`; their models do not matter to labels."""
    steps = tuple(ResolvedStep(kind, None, {}) for kind in kinds)  # type: ignore[arg-type]
    return ResolvedWorkflow(workflows.resolve("fast").ref, steps)
