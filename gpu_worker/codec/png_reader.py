"""A PNG as `codec.write_png` writes it, read band by band in bounded memory: 8 bits of
every sample, of 16 the upper ones.

It is for files whose checksum is known to be ours. What a stranger sent goes through
`codec.Decoder`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import IO, NamedTuple

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray
from PIL import Image

from gpu_worker.photo import Metadata, Photo
from shared.errors import Code, PermanentError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHECKSUM_BYTES = 4
_PIECE_BYTES = 1 << 20
_MODES = {0: "L", 4: "LA", 2: "RGB", 6: "RGBA"}
"""Pillow's mode, by PNG's colour type."""

Bytes = NDArray[np.uint8]


class Header(NamedTuple):
    """What stands before the pixels; `icc`: the profile, unread."""

    width: int
    height: int
    bits: int
    mode: str
    icc: bytes | None

    @property
    def samples(self) -> int:
        return len(self.mode)

    @property
    def row_bytes(self) -> int:
        return self.width * self.samples * self.bits // 8


class PngReader:
    """Reads `file` from its beginning, once. Raises `PermanentError(decode_error)`
    where it is no whole PNG of 8 or 16 bits in rows.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        if file.read(len(_SIGNATURE)) != _SIGNATURE:
            raise _damaged("it does not begin as a PNG")
        self._left = 0
        self._rest = bytearray()
        """Inflated bytes that belong to later rows."""
        self.header = self._header()

    def bands(self, rows: int, meta: Metadata) -> Iterator[Photo]:
        """The picture from top to bottom, `rows` at a time, each with `meta`."""
        header = self.header
        inflated = self._inflated()
        above = np.zeros((1, header.width * header.samples), np.uint8)
        for top in range(0, header.height, rows):
            count = min(rows, header.height - top)
            filtered = self._filtered(inflated, count)
            band = _unfiltered(filtered, above, header)
            above = band[-1:].reshape(1, -1)
            colours = header.samples - header.mode.count("A")
            alpha = band[..., colours] if "A" in header.mode else None
            yield Photo(band[..., :colours], alpha, meta)

    def _header(self) -> Header:
        kind, body = self._chunk()
        if kind != b"IHDR":
            raise _damaged("its header is missing")
        width, height, bits, colour, *_, interlaced = struct.unpack(">IIBBBBB", body)
        if colour not in _MODES or bits not in (8, 16) or interlaced:
            raise _damaged("its kind of pixels is none that results have")
        icc = None
        while True:
            length, kind = self._next()
            if kind == b"IDAT":
                self._left = length
                return Header(width, height, bits, _MODES[colour], icc)
            body = self._body(length)
            if kind == b"iCCP":
                icc = zlib.decompress(body.partition(b"\0")[2][1:])

    def _chunk(self) -> tuple[bytes, bytes]:
        length, kind = self._next()
        return kind, self._body(length)

    def _next(self) -> tuple[int, bytes]:
        """Length and kind of the chunk that begins here."""
        head = self._file.read(8)
        if len(head) < 8:
            raise _damaged("it ends too early")
        length, kind = struct.unpack(">I4s", head)
        return length, kind

    def _body(self, length: int) -> bytes:
        body = self._file.read(length)
        if len(self._file.read(_CHECKSUM_BYTES)) < _CHECKSUM_BYTES:
            raise _damaged("it ends too early")
        return body

    def _pixel_data(self) -> Iterator[bytes]:
        """The contents of the IDAT chunks, in pieces."""
        while True:
            while self._left:
                piece = self._file.read(min(self._left, _PIECE_BYTES))
                if not piece:
                    raise _damaged("it ends too early")
                self._left -= len(piece)
                yield piece
            self._file.read(_CHECKSUM_BYTES)
            self._left, kind = self._next()
            if kind != b"IDAT":
                return

    def _inflated(self) -> Iterator[bytes]:
        """The filtered rows, in pieces."""
        stream = isal_zlib.decompressobj()
        for piece in self._pixel_data():
            while piece:
                yield stream.decompress(piece, _PIECE_BYTES)
                piece = stream.unconsumed_tail
        yield stream.flush()

    def _filtered(self, inflated: Iterator[bytes], count: int) -> Bytes:
        """The next rows, (count, 1 + bytes), with their filter types in front."""
        line = 1 + self.header.row_bytes
        wanted = count * line
        while len(self._rest) < wanted:
            piece = next(inflated, None)
            if piece is None:
                raise _damaged("rows are missing")
            self._rest += piece
        rows = np.frombuffer(self._rest[:wanted], np.uint8).reshape(count, line)
        del self._rest[:wanted]
        return rows


def _unfiltered(filtered: Bytes, above: Bytes, header: Header) -> Bytes:
    """(rows, 1 + bytes) → (rows, width, samples). `above`: the row before, in 8 bits.

    A PNG filters every byte of a pixel by itself, so that the upper bytes of 16 bits
    are a picture of 8 bits. Pillow undoes the filters of a picture that is this band
    below the row above it.
    """
    count = len(filtered)
    rows = filtered[:, 1:]
    if header.bits == 16:
        rows = rows[:, ::2]
    stacked = np.zeros((count + 1, 1 + above.shape[1]), np.uint8)
    stacked[0, 1:] = above
    stacked[1:, 0] = filtered[:, 0]
    stacked[1:, 1:] = rows
    size = (header.width, count + 1)
    stored = zlib.compress(stacked.data, 0)
    picture = Image.frombytes(header.mode, size, stored, "zip", header.mode, 0)
    return np.asarray(picture).reshape(count + 1, header.width, -1)[1:]


def _damaged(why: str) -> PermanentError:
    detail = f"the result cannot be read as the PNG that was written ({why})"
    return PermanentError(Code.DECODE_ERROR, detail)
