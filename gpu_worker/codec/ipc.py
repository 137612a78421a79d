"""The messages between the worker and its decoder: a header in JSON, then raw bytes,
over a socket.

Nothing is unpickled and no memory is shared: a decoder that a hostile file has taken
over can lie about its own photo's pixels, and do no more. Of its colour profile the
worker reads two words of the header, and passes it on.
"""

from __future__ import annotations

import socket
import struct
import time
from enum import IntFlag
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from gpu_worker.codec.decode import Limits
from gpu_worker.photo import Captions
from shared.errors import Code

HEADER_BYTES = 1 << 16
GREYS_BYTES = 256 * 3
MAX_CAPTIONS_BYTES = 1 << 17
"""Of captions in JSON, which are never twice as long as in XML."""
CAPTIONS = TypeAdapter(Captions)
"""Captions as JSON and back; what does not fit into XML is no caption."""
MAX_SIDE_PX = 512
"""The longest side of a preview."""
_LENGTH = struct.Struct(">I")
_Size = Annotated[int, Field(ge=0)]
_Side = Annotated[int, Field(ge=1)]
_Sentence = Annotated[str, Field(max_length=2000)]
M = TypeVar("M", bound="Message")


class Confined(IntFlag):
    """How the processes that decode are confined, beside their limits."""

    NETWORK = 1
    """They are out of the machine's network."""
    CALLS = 2
    """The kernel refuses them files, sockets, programs and signals."""


class Message(BaseModel):
    """A header; the raw bytes that its class names follow it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Request(Message):
    """A photo to decode. The file follows: `bytes` of it. `pixels`: as many as its header
    claims. `memory_bytes`: what decoding may take beside the file and the idle decoder's
    own memory. `page`: of a TIFF.
    """

    bytes: _Size
    pixels: _Size
    page: int = 1
    memory_bytes: _Size
    seconds: float
    limits: Limits


class Conversion(Message):
    """A preview to convert to sRGB. Its pixels follow, three bytes each, then their
    colour profile: `icc` bytes.
    """

    width: Annotated[int, Field(ge=1, le=MAX_SIDE_PX)]
    height: Annotated[int, Field(ge=1, le=MAX_SIDE_PX)]
    icc: _Size
    memory_bytes: _Size
    seconds: float


class Envelope(Message):
    """All that the worker sends: one kind of request or the other."""

    request: Request | Conversion


class Converted(Message):
    """A converted preview. As many pixels follow as were sent."""


class Fault(Message):
    """What is wrong with the photo. Nothing follows."""

    code: Code
    detail: _Sentence


class Decoded(Message):
    """A photo without its arrays. They follow: pixels, alpha, profile and its greys,
    EXIF, captions in JSON, as far as there are any.
    """

    shape: tuple[_Side, _Side, Literal[1, 3]]
    dtype: Literal["uint8", "uint16"]
    alpha: bool
    icc: _Size | None
    exif: _Size | None
    captions: Annotated[int, Field(ge=0, le=MAX_CAPTIONS_BYTES)]
    dpi: tuple[float, float] | None
    source_mode: Annotated[str, Field(max_length=50)]
    notes: Annotated[tuple[_Sentence, ...], Field(max_length=20)]


class Response(Message):
    """All that the decoder sends: a result, or what is wrong."""

    result: Fault | Converted | Decoded


class Link:
    """One end of a connection. Its methods raise `TimeoutError` once `seconds` have
    passed since it was made, and `EOFError` when the other end is gone.
    """

    def __init__(self, end: socket.socket, seconds: float | None = None) -> None:
        self._end = end
        self._deadline_s = None if seconds is None else time.monotonic() + seconds

    def send(self, message: Message, *blobs: memoryview | bytes | bytearray) -> None:
        """Send a header and what follows it."""
        header = message.model_dump_json().encode()
        length = _LENGTH.pack(len(header))
        try:
            for part in (length + header, *blobs):
                self._set_timeout()
                self._end.sendall(part)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise EOFError from error

    def receive(self, kind: type[M]) -> M:
        """The next header. Raises `ValueError` for what is no such message."""
        (length,) = _LENGTH.unpack(self.read(_LENGTH.size))
        if length > HEADER_BYTES:
            raise ValueError(f"a header of {length} bytes")
        return kind.model_validate_json(self.read(length))

    def read(self, count: int) -> bytes:
        """The next `count` bytes."""
        found = bytearray(count)
        self.fill(memoryview(found))
        return bytes(found)

    def fill(self, target: memoryview) -> None:
        """Read until `target` (bytes, writable) is full."""
        while target:
            self._set_timeout()
            try:
                count = self._end.recv_into(target)
            except ConnectionResetError:
                count = 0
            if not count:
                raise EOFError
            target = target[count:]

    def _set_timeout(self) -> None:
        """Let the next call on the socket last until the deadline, and no longer."""
        if self._deadline_s is None:
            return
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._end.settimeout(left_s)
