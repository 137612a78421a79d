"""A body that is read once, forwards, hashed and bounded on the way; nothing is kept
but the piece in hand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from shared.errors import Code, PermanentError

MAX_PARTS, FREE_PARTS, BYTES_A_PART = 250_000, 20_000, 100
"""Most fields read from one file; beyond the free ones each must have brought some
bytes, so that a small file costs little time. Honest files of 50 MB have at most
200,000 (a GIF's blocks of 255 bytes).
"""


class EndOfData(Exception):
    """The file ends before its own structure does."""


class Broken(Exception):
    """The file breaks the rules of its own format; the text says how."""


@dataclass(frozen=True)
class Header:
    """What a file says of its picture before any pixel is decoded. `mode` in Pillow's
    words, as far as the file gives it.
    """

    format: str
    width: int
    height: int
    mode: str


Found = Callable[[Header], None]
"""Called as soon as the size is known, so that a file can be refused (it raises) before
the rest is read; for each page of a file that may have several.
"""


Order = Literal["big", "little"]
"""Which byte of a number comes first."""


class Forward:
    """A reader over the chunks of a body. Raises `PermanentError(too_large)` once there
    are more than `max_bytes`.
    """

    def __init__(self, chunks: Iterator[bytes], max_bytes: int) -> None:
        self._chunks = chunks
        self._max_bytes = max_bytes
        self._hash = hashlib.sha256()
        self._piece = b""
        self._at = 0
        self._parts = 0
        self.bytes = 0
        """Bytes received so far: after `drain`, the size of the body."""

    @property
    def position(self) -> int:
        return self.bytes - len(self._piece) + self._at

    @property
    def sha256(self) -> str:
        """Of all bytes received so far."""
        return self._hash.hexdigest()

    def check_size(self, size: int) -> None:
        """Raises `PermanentError(too_large)` if a body of `size` bytes is."""
        if size > self._max_bytes:
            detail = (
                f"the file has {size:,} bytes or more; DARKROOM_MAX_UPLOAD_BYTES, or DARKROOM_PHOTO_LIMITS,"
                f" allows {self._max_bytes:,}: scale the photo down or save it with more compression"
            )
            raise PermanentError(Code.TOO_LARGE, detail)

    def peek(self, count: int) -> bytes:
        """The next `count` bytes, fewer at the end of the body, without passing them."""
        while len(self._piece) - self._at < count:
            rest = self._piece[self._at :]
            more = self._receive()
            self._piece = rest + self._piece
            if not more:
                break
        return self._piece[self._at : self._at + count]

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes; raises `EndOfData`."""
        self._parts += 1
        if self._parts > FREE_PARTS and self._parts > min(
            MAX_PARTS, FREE_PARTS + self.bytes // BYTES_A_PART
        ):
            raise Broken(f"it has more than {self._parts - 1:,} parts")
        end = self._at + count
        if end > len(self._piece):
            if len(self.peek(count)) < count:
                raise EndOfData
            end = self._at + count
        found = self._piece[self._at : end]
        self._at = end
        return found

    def number(self, count: int, order: Order = "big") -> int:
        """An unsigned integer of `count` bytes."""
        return int.from_bytes(self.read(count), order)

    def skip(self, count: int) -> None:
        """Pass over `count` bytes; raises `EndOfData`."""
        self.seek(self.position + count)

    def seek(self, position: int) -> None:
        """Pass on to `position`; raises `EndOfData`, and `Broken` where that is behind."""
        if position < self.position:
            raise Broken("its parts overlap")
        while self.bytes < position:
            if not self._receive():
                raise EndOfData
        self._at = len(self._piece) - (self.bytes - position)

    def rewind(self, position: int) -> None:
        """Go to `position`, which may be behind, within the piece in hand; raises as
        `seek` does. What may be gone back over, `peek` brought into the hand.
        """
        behind = self.position - position
        if 0 < behind <= self._at:
            self._at -= behind
        else:
            self.seek(position)

    def drain(self) -> None:
        """Receive the body to its end."""
        while self._receive():
            pass

    def drain_past(self, mark: bytes) -> bool:
        """Receive the body to its end; whether `mark` is anywhere in what was still to
        come.
        """
        seen, overlap, carried = False, len(mark) - 1, b""
        piece = self._piece[self._at :]
        while True:
            # From the end: where a file is whole, its mark is in the last few bytes.
            seen = seen or mark in carried + piece[:overlap] or piece.rfind(mark) >= 0
            carried = (carried + piece[-overlap:])[-overlap:]
            if not self._receive():
                return seen
            piece = self._piece

    def _receive(self) -> bool:
        """The next chunk in place of the one in hand; False at the end, where the piece
        in hand is empty.
        """
        self._piece, self._at = next(self._chunks, b""), 0
        self._hash.update(self._piece)
        self.bytes += len(self._piece)
        self.check_size(self.bytes)
        return bool(self._piece)
