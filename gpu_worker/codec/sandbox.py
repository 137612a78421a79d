"""Decoding apart from the worker: a file that crashes, stalls or inflates its decoder
costs one photo.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gpu_worker.codec.decode import Limits
from gpu_worker.codec.ipc import (
    GREYS_BYTES,
    Answer,
    Asked,
    Confined,
    Conversion,
    Converted,
    Decoded,
    Fault,
    Link,
    Request,
)
from gpu_worker.photo import Metadata, Photo
from gpu_worker.pixels import scratch
from shared.errors import Code, PermanentError, TransientError
from shared.runtime.heartbeat import own
from shared.runtime.settings import CodecSettings
from shared.runtime.telemetry import logger

S = TypeVar("S", Decoded, Converted)
T = TypeVar("T")

CHILD = "gpu_worker.codec.sandbox_child"
# The largest need that was measured is 31 bytes a pixel (16-bit RGBA); the base is for
# libraries and their threads.
BASE_BYTES, PER_PIXEL_BYTES, PER_BYTE = 256 << 20, 40, 4
# The slowest that was measured took a quarter of this a pixel, on a busy machine; the
# base is for a machine that swaps.
BASE_S, PER_PIXEL_S = 15.0, 1e-6
# All that the process is told, beside where our code is: little address space, and a
# heap that is kept once touched.
_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
}
_START_S = 60.0
_END_S = 5.0
_PROFILE_BYTES = 1 << 16
"""A profile that we made ourselves, which the limit of metadata does not count."""


class _Died(Exception):
    """The process of a photo ended without an answer. `signum`: what ended it, 0 for
    its own exit.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class Decoder:
    """`codec.decode` in a process of its own for every photo. For one thread at a time;
    others wait.

    The process has no secrets, no settings, where the kernel allows it no network, and
    limits of memory (`decode_memory_bytes`), time (`decode_seconds`), files and output.
    The decoders are loaded from the start, once.
    """

    def __init__(self, settings: CodecSettings, child: str = CHILD) -> None:
        self._settings = settings
        self._limits = Limits.of(settings)
        self._child = child
        self._lock = threading.Lock()
        self._service: _Service | None = _Service(child)

    def decode(self, data: bytes | bytearray, pixels: int | None = None) -> Photo:
        """As `codec.decode`; `pixels`: what the header claims, from which the limits of
        memory and time follow.

        A crash counts when it happens twice, since a decoder is not the only thing that
        can kill a process. Raises `PermanentError` with the photo's fault,
        `TransientError` when no decoder could be started, in two tries: the first may
        meet one that is about to end.
        """
        with self._lock:
            ask = partial(self._ask, data, pixels or self._settings.max_pixels)
            try:
                return self._once(ask)
            except TransientError as error:
                logger().warning("decoder.gone", error=str(error))
            except _Died as died:
                if died.signum in (signal.SIGALRM, signal.SIGXCPU):
                    raise self._fault(died) from died
            try:
                return self._once(ask)
            except _Died as died:
                raise self._fault(died) from died

    def to_srgb(self, pixels: NDArray[np.uint8], icc: bytes) -> NDArray[np.uint8]:
        """Pixels of a preview (height, width, 3) in sRGB; as they are, where that
        fails: it is only to be looked at.
        """
        with self._lock:
            try:
                return self._once(partial(self._ask_conversion, pixels, icc))
            except (TransientError, PermanentError, _Died) as error:
                logger().warning("preview.not_converted", error=type(error).__name__)
                return pixels

    def close(self) -> None:
        with self._lock:
            if self._service:
                self._service.close()
                self._service = None

    def _once(self, ask: Callable[[socket.socket], T]) -> T:
        try:
            service, end = self._connected()
            try:
                with end:
                    return ask(end)
            except TimeoutError as error:
                self._end(service)
                raise self._died(int(signal.SIGALRM)) from error
            except EOFError as error:
                raise self._died(self._status(service)) from error
        except (OSError, _Gone) as error:
            if self._service:
                self._end(self._service)
            detail = "the decoder's process ended or did not start; the next try starts a new one"
            raise TransientError(Code.INTERNAL, detail) from error

    def _connected(self) -> tuple[_Service, socket.socket]:
        """A connection to the process for one photo, of a new service where the old one
        is gone.
        """
        if self._service:
            with suppress(OSError, _Gone):
                return self._service, self._service.connect()
            self._end(self._service)
        self._service = _Service(self._child)
        return self._service, self._service.connect()

    def _ask(self, data: bytes | bytearray, pixels: int, end: socket.socket) -> Photo:
        settings = self._settings
        memory = min(
            BASE_BYTES + PER_BYTE * len(data) + PER_PIXEL_BYTES * pixels,
            settings.decode_memory_bytes,
        )
        seconds = min(BASE_S + PER_PIXEL_S * pixels, settings.decode_seconds)
        request = Request(
            bytes=len(data), memory_bytes=memory, seconds=seconds, limits=self._limits
        )
        link = Link(end, seconds)
        said = _said(link, Decoded, request, data)
        return self._photo(link, said)

    def _ask_conversion(
        self, pixels: NDArray[np.uint8], icc: bytes, end: socket.socket
    ) -> NDArray[np.uint8]:
        height, width, _ = pixels.shape
        memory, seconds = (
            min(BASE_BYTES, self._settings.decode_memory_bytes),
            min(BASE_S, self._settings.decode_seconds),
        )
        request = Conversion(
            width=width,
            height=height,
            icc=len(icc),
            memory_bytes=memory,
            seconds=seconds,
        )
        link = Link(end, seconds)
        _said(
            link, Converted, request, np.ascontiguousarray(pixels).data.cast("B"), icc
        )
        found = np.empty_like(pixels)
        link.fill(found.data.cast("B"))
        return found

    def _photo(self, link: Link, said: Decoded) -> Photo:
        """The arrays go straight to where they stay: a big picture into its scratch
        file.
        """
        height, width, _ = said.shape
        profile, exif = said.icc or 0, said.exif or 0
        most = self._limits.max_metadata_bytes
        if (
            height * width > self._limits.max_pixels
            or profile > max(most, _PROFILE_BYTES)
            or exif > most
        ):
            raise EOFError  # our own decoder never answers so
        pixels = self._filled(link, said.shape, said.dtype)
        alpha = self._filled(link, (height, width), said.dtype) if said.alpha else None
        icc = None if said.icc is None else link.read(profile)
        greys = None if said.icc is None else link.read(GREYS_BYTES)
        meta = Metadata(
            icc, None if said.exif is None else link.read(exif), said.dpi, greys
        )
        return Photo(pixels, alpha, meta, said.source_mode, said.notes)

    def _filled(self, link: Link, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        array: NDArray[Any] = scratch.allocate(shape, dtype, self._settings)
        link.fill(array.data.cast("B"))
        return array

    def _status(self, service: _Service) -> int:
        """A process that has said its last word and stays is no better than one that
        crashed: it is ended.
        """
        try:
            return service.status(_END_S)
        except TimeoutError:
            self._end(service)
            return 0

    def _end(self, service: _Service) -> None:
        service.kill()
        self._service = None

    def _died(self, signum: int) -> _Died:
        logger().warning("decoder.died", signal=_name(signum))
        return _Died(signum)

    def _fault(self, died: _Died) -> PermanentError:
        if died.signum in (signal.SIGALRM, signal.SIGXCPU):
            detail = (
                "decoding took longer than a photo of this size may take and was stopped; save the photo again in an "
                f"ordinary form (DARKROOM_DECODE_SECONDS, now {self._settings.decode_seconds:g}, bounds the time)"
            )
            return PermanentError(Code.DECODE_ERROR, detail)
        if died.signum == signal.SIGKILL:
            detail = "the decoder was killed twice, as happens when memory runs out; give the worker more of it"
            return PermanentError(Code.OUT_OF_MEMORY, detail)
        detail = f"the decoder crashed twice on this photo ({_name(died.signum)}); save it again in an ordinary form"
        return PermanentError(Code.DECODE_ERROR, detail)


def _said(
    link: Link,
    kind: type[S],
    request: Request | Conversion,
    *blobs: bytes | bytearray | memoryview,
) -> S:
    """Raises `PermanentError` with the photo's fault, `EOFError` where no answer is one
    of ours.
    """
    with own().waiting():
        link.send(Asked(asked=request), *blobs)
        try:
            said = link.receive(Answer).said
        except ValueError as error:
            raise EOFError from error
    if isinstance(said, Fault):
        raise PermanentError(said.code, said.detail)
    if type(said) is not kind:
        raise EOFError  # our own decoder never answers so
    return said


def _name(signum: int) -> str:
    if signum == signal.SIGALRM:
        return "time limit"
    try:
        return signal.Signals(signum).name
    except ValueError:
        return "no answer"


def _tell(confined: Confined) -> None:
    """For the operator: on this machine, what a photo that takes its decoder over
    cannot do.
    """
    network, calls = Confined.NETWORK in confined, Confined.CALLS in confined
    tell = logger().info if calls else logger().warning
    tell("decoder.confined", network=network, system_calls=calls)


class _Gone(Exception):
    """The process that forks the decoders is gone."""


class _Service:
    """The running `codec.child`. It says four bytes when it is ready: at first what
    confines it, then each status.
    """

    def __init__(self, child: str) -> None:
        root = Path(__file__).parents[2]
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", child, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                env=_ENVIRONMENT | {"PYTHONPATH": str(root)},
                stdin=subprocess.DEVNULL,
                # one kill reaches its forks, too; a terminal's Ctrl-C reaches neither
                start_new_session=True,
            )
        self._owes_s = _START_S
        self._is_new = True

    def connect(self) -> socket.socket:
        """A connection to a fresh process for one photo, once there is no other. Raises
        `_Gone`, `OSError`.
        """
        if self._owes_s:
            said = self._read(self._owes_s)
            if self._is_new:
                _tell(Confined(said))
            self._is_new = False
        ours, theirs = socket.socketpair()
        with theirs, ExitStack() as unless_sent:
            unless_sent.enter_context(ours)
            socket.send_fds(self._control, [b"\0"], [theirs.fileno()])
            unless_sent.pop_all()
        self._owes_s = _END_S
        return ours

    def status(self, seconds: float) -> int:
        """The signal that ended the last photo's process, 0 if it ended itself. Raises
        `_Gone`, `TimeoutError`.
        """
        found = self._read(seconds)
        return os.WTERMSIG(found) if os.WIFSIGNALED(found) else 0

    def _read(self, seconds: float) -> int:
        try:
            with own().waiting():
                said = int.from_bytes(Link(self._control, seconds).read(4), "big")
        except EOFError as error:
            raise _Gone from error
        self._owes_s = 0.0
        return said

    def close(self) -> None:
        """It ends when its control socket does."""
        self._control.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._control.close()
        self._process.wait()
