"""A lossless PNG of a `Photo`, written band by band: fast, the same bytes every time, in bounded memory.

Bands of rows are filtered with numpy and deflated by ISA-L, each on its own, in a few threads; the deflate streams
are joined in order. Neither the number of threads nor their timing changes a byte.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from gpu_worker.codec import colour
from gpu_worker.photo import Metadata, Photo

XMP_KEYWORD = "XML:com.adobe.xmp"
BAND_BYTES = 1 << 20
CHUNK_BYTES = 1 << 20
_SAMPLE_EVERY = 8
_SUB, _UP = 1, 2
_COLOUR_TYPES = {(1, False): 0, (3, False): 2, (1, True): 4, (3, True): 6}


@dataclass(frozen=True)
class Written:
    """The file that was written: SHA-256 in hex, and its length."""

    sha256: str
    bytes: int


def write_png(photo: Photo, out: IO[bytes], text: Mapping[str, str], level: int, threads: int | None = None) -> Written:
    """Write `photo` with its metadata and `text` (keyword → value; an XMP packet under `XML:com.adobe.xmp`).

    `photo.pixels` may be memory-mapped and larger than memory. `level`: 0 fastest … 3 smallest. `threads`: at most
    four of the machine's cores by default. Raises `ValueError` for a keyword that PNG does not allow.
    """
    sink = _Sink(out)
    sink.write(b"\x89PNG\r\n\x1a\n")
    alpha = photo.alpha is not None
    channels, bits = photo.pixels.shape[2], photo.pixels.dtype.itemsize * 8
    header = struct.pack(">IIBBBBB", photo.width, photo.height, bits, _COLOUR_TYPES[channels, alpha], 0, 0, 0)
    sink.chunk(b"IHDR", header)
    _write_metadata(sink, photo.meta, channels)
    for keyword, value in text.items():
        sink.chunk(*_text_chunk(keyword, value))
    _write_pixels(sink, photo, level, threads or min(4, os.cpu_count() or 1))
    sink.chunk(b"IEND", b"")
    return Written(sink.digest.hexdigest(), sink.bytes)


class _Sink:
    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self.digest = hashlib.sha256()
        self.bytes = 0

    def write(self, data: bytes) -> None:
        self._out.write(data)
        self.digest.update(data)
        self.bytes += len(data)

    def chunk(self, kind: bytes, data: bytes) -> None:
        self.write(struct.pack(">I", len(data)) + kind)
        self.write(data)
        self.write(struct.pack(">I", isal_zlib.crc32(data, isal_zlib.crc32(kind))))


def _write_metadata(sink: _Sink, meta: Metadata, channels: int) -> None:
    # A profile for other channels than these would make readers refuse the picture or show it wrong.
    if meta.icc and colour.fits(meta.icc, channels):
        sink.chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(meta.icc, 9))
    if meta.dpi:
        x, y = (round(dots / 0.0254) for dots in meta.dpi)  # per inch → per metre
        sink.chunk(b"pHYs", struct.pack(">IIB", x, y, 1))
    if meta.exif:
        sink.chunk(b"eXIf", meta.exif)


def _text_chunk(keyword: str, value: str) -> tuple[bytes, bytes]:
    name = keyword.encode("latin-1")
    if not 1 <= len(name) <= 79 or not keyword.isprintable() or name != name.strip():
        raise ValueError(f"{keyword!r} is no PNG keyword: 1 to 79 printable Latin-1 characters, no blank at an end")
    if "\0" in value:
        raise ValueError(f"the PNG text {keyword!r} holds a NUL character")
    if keyword != XMP_KEYWORD:
        try:
            return b"tEXt", name + b"\0" + value.encode("latin-1")
        except UnicodeEncodeError:
            pass
    return b"iTXt", name + b"\0\0\0\0\0" + value.encode()


def _write_pixels(sink: _Sink, photo: Photo, level: int, threads: int) -> None:
    pending = b"\x78\x01"  # zlib: deflate, 32 KiB window
    adler = 1
    for filtered, deflated in _bands(photo, level, threads):
        adler = isal_zlib.adler32(filtered, adler)
        pending += deflated
        while len(pending) >= CHUNK_BYTES:
            sink.chunk(b"IDAT", pending[:CHUNK_BYTES])
            pending = pending[CHUNK_BYTES:]
    # An empty last block ends the stream, since no band knows that it is the last.
    sink.chunk(b"IDAT", pending + b"\x03\x00" + struct.pack(">I", adler))


def _bands(photo: Photo, level: int, threads: int) -> Iterator[tuple[NDArray[np.uint8], bytes]]:
    """Filtered and deflated bands in order; at most `threads` + 1 are in memory."""
    samples = photo.pixels.shape[2] + (photo.alpha is not None)
    rows = max(1, BAND_BYTES // (photo.width * samples * photo.pixels.dtype.itemsize))
    with ThreadPoolExecutor(threads, "png") as pool:
        waiting: deque[Future[tuple[NDArray[np.uint8], bytes]]] = deque()
        for top in range(0, photo.height, rows):
            waiting.append(pool.submit(_band, photo, top, min(top + rows, photo.height), level))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _band(photo: Photo, top: int, bottom: int, level: int) -> tuple[NDArray[np.uint8], bytes]:
    before = _rows(photo, max(top - 1, 0), bottom)
    if top == 0:
        before = np.concatenate((np.zeros_like(before[:1]), before))
    step = photo.pixels.dtype.itemsize * (photo.pixels.shape[2] + (photo.alpha is not None))
    filtered = _filtered(before[1:], before[:-1], step)
    deflate = isal_zlib.compressobj(level, wbits=-15)
    # A full flush ends on a byte and forgets what came before: the bands can be joined.
    return filtered, deflate.compress(filtered) + deflate.flush(isal_zlib.Z_FULL_FLUSH)


def _rows(photo: Photo, top: int, bottom: int) -> NDArray[np.uint8]:
    """Rows as PNG stores them: (rows, bytes), alpha interleaved, most significant byte first."""
    block: NDArray[Any] = photo.pixels[top:bottom]
    if photo.alpha is not None:
        block = np.concatenate((block, photo.alpha[top:bottom, :, None]), axis=2)
    if block.dtype == np.uint16:
        block = block.astype(">u2")
    return np.ascontiguousarray(block).view(np.uint8).reshape(bottom - top, -1)


def _filtered(rows: NDArray[np.uint8], above: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """One filter for the whole band, the better one by a sample of its rows: left or upper neighbour."""
    some, upper = rows[::_SAMPLE_EVERY], above[::_SAMPLE_EVERY]
    up = _size(some - upper) < _size(some[:, step:] - some[:, :-step])
    result = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    result[:, 0] = _UP if up else _SUB
    if up:
        np.subtract(rows, above, out=result[:, 1:])
    else:
        result[:, 1 : 1 + step] = rows[:, :step]
        np.subtract(rows[:, step:], rows[:, :-step], out=result[:, 1 + step :])
    return result


def _size(difference: NDArray[np.uint8]) -> int:
    """Sum of the differences as signed bytes: small sums deflate well."""
    return int(np.abs(difference.view(np.int8).astype(np.int16)).sum())
