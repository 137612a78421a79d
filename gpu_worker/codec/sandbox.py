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

from gpu_worker.codec import captions
from gpu_worker.codec.decode import Limits
from gpu_worker.codec.ipc import (
    CAPTIONS,
    GREYS_BYTES,
    Confined,
    Conversion,
    Converted,
    Decoded,
    Envelope,
    Fault,
    Link,
    Request,
    Response,
)
from gpu_worker.photo import Captions, Metadata, Photo
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
# The process's whole environment, beside where our code is: little address space, and a
# heap that is kept once touched.
_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
}
_START_S = 60.0
_END_S = 5.0
_PROFILE_BYTES = 1 << 16
"""The most that a profile of our own making has, which the limit of metadata does not
count.
"""
_TIME_LIMITS = (signal.SIGALRM, signal.SIGXCPU)


class _Died(Exception):
    """The process of a photo ended without a response. `signum`: the signal that ended
    it, 0 for its own exit.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class _Gone(Exception):
    """The process that forks the decoders is gone."""


class Decoder:
    """`codec.decode` in a process of its own for every photo. It serves one thread at a
    time; others wait.

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

    def decode(
        self, data: bytes | bytearray, pixels: int | None = None, page: int = 1
    ) -> Photo:
        """As `codec.decode`; `pixels`: what the header claims, from which the limits of
        memory and time follow.

        A crash counts when it happens twice, since a decoder is not the only thing that
        can kill a process. Raises `PermanentError` with the photo's fault,
        `TransientError` when no decoder could be started, in two tries: the first may
        meet one that is about to end.
        """
        claimed = pixels or self._settings.widest().max_pixels
        with self._lock:
            work = partial(self._decode_over, data, claimed, page)
            try:
                return self._once(work)
            except TransientError as error:
                logger().warning("decoder.gone", error=str(error))
            except _Died as died:
                if died.signum in _TIME_LIMITS:
                    raise self._fault(died) from died
            try:
                return self._once(work)
            except _Died as died:
                raise self._fault(died) from died

    def to_srgb(self, pixels: NDArray[np.uint8], icc: bytes) -> NDArray[np.uint8]:
        """Pixels of a preview (height, width, 3) in sRGB; as they are, where that
        fails: it is only to be looked at.
        """
        with self._lock:
            work = partial(self._convert_over, pixels, icc)
            try:
                return self._once(work)
            except (TransientError, PermanentError, _Died) as error:
                logger().warning("preview.not_converted", error=type(error).__name__)
                return pixels

    def close(self) -> None:
        """End the process that forks the decoders."""
        with self._lock:
            if self._service:
                self._service.close()
                self._service = None

    def _once(self, work: Callable[[socket.socket], T]) -> T:
        """Do `work` over a connection to a fresh process. Raises `_Died` when that
        process dies, `TransientError` when there is none.
        """
        try:
            service, end = self._connected()
            return self._watched(service, end, work)
        except (OSError, _Gone) as error:
            if self._service:
                self._end(self._service)
            detail = "the decoder's process ended or did not start; the next try starts a new one"
            raise TransientError(Code.INTERNAL, detail) from error

    def _watched(
        self,
        service: _Service,
        end: socket.socket,
        work: Callable[[socket.socket], T],
    ) -> T:
        """Do `work`, and raise `_Died` for what ended the process meanwhile."""
        try:
            with end:
                return work(end)
        except TimeoutError as error:
            self._end(service)
            raise self._died(int(signal.SIGALRM)) from error
        except EOFError as error:
            raise self._died(self._status(service)) from error

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

    def _decode_over(
        self,
        data: bytes | bytearray,
        pixels: int,
        page: int,
        end: socket.socket,
    ) -> Photo:
        settings = self._settings
        memory_bytes = BASE_BYTES + PER_BYTE * len(data) + PER_PIXEL_BYTES * pixels
        seconds = min(BASE_S + PER_PIXEL_S * pixels, settings.decode_seconds)
        request = Request(
            bytes=len(data),
            pixels=pixels,
            page=page,
            memory_bytes=min(memory_bytes, settings.decode_memory_bytes),
            seconds=seconds,
            limits=self._limits,
        )
        link = Link(end, seconds)
        header = _response(link, Decoded, request, data)
        return self._received(link, header)

    def _convert_over(
        self,
        pixels: NDArray[np.uint8],
        icc: bytes,
        end: socket.socket,
    ) -> NDArray[np.uint8]:
        settings = self._settings
        height, width, _ = pixels.shape
        seconds = min(BASE_S, settings.decode_seconds)
        request = Conversion(
            width=width,
            height=height,
            icc=len(icc),
            memory_bytes=min(BASE_BYTES, settings.decode_memory_bytes),
            seconds=seconds,
        )
        link = Link(end, seconds)
        contiguous = np.ascontiguousarray(pixels)
        _response(link, Converted, request, contiguous.data.cast("B"), icc)
        converted = np.empty_like(pixels)
        link.fill(converted.data.cast("B"))
        return converted

    def _received(self, link: Link, header: Decoded) -> Photo:
        """The photo of a response. Its arrays go straight to where they stay: a big
        picture into its scratch file.
        """
        self._check(header)
        height, width, _ = header.shape
        pixels = self._array(link, header.shape, header.dtype)
        alpha = None
        if header.alpha:
            alpha = self._array(link, (height, width), header.dtype)
        icc = greys = exif = None
        if header.icc is not None:
            icc = link.read(header.icc)
            greys = link.read(GREYS_BYTES)
        if header.exif is not None:
            exif = link.read(header.exif)
        words = _captions(link.read(header.captions))
        meta = Metadata(icc, exif, header.dpi, greys, words)
        return Photo(pixels, alpha, meta, header.source_mode, header.notes)

    def _check(self, header: Decoded) -> None:
        """Raises `EOFError` for more than our own decoder ever sends."""
        height, width, _ = header.shape
        most = self._limits.max_metadata_bytes
        too_large = (
            height * width > self._limits.max_pixels
            or (header.icc or 0) > max(most, _PROFILE_BYTES)
            or (header.exif or 0) > most
        )
        if too_large:
            raise EOFError

    def _array(self, link: Link, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        array: NDArray[Any] = scratch.allocate(shape, dtype, self._settings)
        link.fill(array.data.cast("B"))
        return array

    def _status(self, service: _Service) -> int:
        """The signal that ended the photo's process. A process that has closed its
        connection and stays is no better than one that crashed: it is ended.
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
        """The photo's fault, by the signal that ended its decoder."""
        if died.signum in _TIME_LIMITS:
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


def _response(
    link: Link,
    kind: type[S],
    request: Request | Conversion,
    *blobs: bytes | bytearray | memoryview,
) -> S:
    """Send a request and receive its response, which must be a `kind`. Raises
    `PermanentError` with the photo's fault, `EOFError` for anything that our own decoder
    never sends.
    """
    with own().waiting():
        link.send(Envelope(request=request), *blobs)
        try:
            result = link.receive(Response).result
        except ValueError as error:
            raise EOFError from error
    if isinstance(result, Fault):
        raise PermanentError(result.code, result.detail)
    if type(result) is not kind:
        raise EOFError
    return result


def _captions(data: bytes) -> Captions:
    """Raises `EOFError` for what our own decoder never sends."""
    if not data:
        return ()
    try:
        found = CAPTIONS.validate_json(data)
    except ValueError as error:
        raise EOFError from error
    if sum(map(captions.size, found)) > captions.MOST_BYTES:
        raise EOFError
    return found


def _name(signum: int) -> str:
    if signum == signal.SIGALRM:
        return "time limit"
    try:
        return signal.Signals(signum).name
    except ValueError:
        return "no answer"


def _log_confinement(confined: Confined) -> None:
    """Log for the operator what, on this machine, a photo that takes its decoder over
    cannot do.
    """
    network = Confined.NETWORK in confined
    calls = Confined.CALLS in confined
    log = logger().info if calls else logger().warning
    log("decoder.confined", network=network, system_calls=calls)


class _Service:
    """The running `codec.sandbox_child`, which forks a process for each photo.

    It sends four bytes when it is ready: at first how it is confined, then the wait
    status of each photo's process.
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
                # One kill reaches its forks, too; a terminal's Ctrl-C reaches neither.
                start_new_session=True,
            )
        self._is_new = True
        # How long the next four bytes may take; 0 when none are due.
        self._due_within_s = _START_S

    def connect(self) -> socket.socket:
        """A connection to a fresh process for one photo, once the last one has ended.
        Raises `_Gone`, `OSError`.
        """
        if self._due_within_s:
            received = self._read(self._due_within_s)
            if self._is_new:
                _log_confinement(Confined(received))
            self._is_new = False
        ours, theirs = socket.socketpair()
        with theirs, ExitStack() as unless_sent:
            unless_sent.enter_context(ours)
            socket.send_fds(self._control, [b"\0"], [theirs.fileno()])
            unless_sent.pop_all()
        self._due_within_s = _END_S
        return ours

    def status(self, seconds: float) -> int:
        """The signal that ended the last photo's process, 0 if it ended itself. Raises
        `_Gone`, `TimeoutError`.
        """
        status = self._read(seconds)
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0

    def _read(self, seconds: float) -> int:
        link = Link(self._control, seconds)
        try:
            with own().waiting():
                received = link.read(4)
        except EOFError as error:
            raise _Gone from error
        self._due_within_s = 0.0
        return int.from_bytes(received, "big")

    def close(self) -> None:
        """End the process, which ends when its control socket does."""
        self._control.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill the process and its forks."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._control.close()
        self._process.wait()
