"""`python -m gpu_worker.codec.sandbox_child FD`: decodes photos, each in a forked process of
its own under limits.

This process has the decoders loaded and looks at no file itself. Its fork waits for one
photo, with memory already at hand, so that a process of its own costs a photo little
time; and nothing of one photo is left when the next comes.
"""

from __future__ import annotations

import ctypes
import gc
import io
import math
import os
import resource
import signal
import socket
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from gpu_worker.codec import colour
from gpu_worker.codec.decode import Limits, decode, out_of_memory
from gpu_worker.codec.ipc import (
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
from gpu_worker.codec.seccomp import can_refuse_calls, refuse_calls
from gpu_worker.photo import Photo
from shared.errors import Code, PermanentError

_OPEN_FILES = 32
_USUAL_PX = 1024
_NO_MORE = 3
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


def main(control_fd: int) -> int:
    """Serve until the worker's end of the control socket is closed.

    Each byte on it brings a connection about one photo; its process's wait status goes
    back in four bytes. The first four say that this process is ready, and what confines
    a photo's process (`wire.Confined`).
    """
    control = socket.socket(fileno=control_fd)
    _die_with_parent()
    # what is loaded at first use is loaded once, not in every fork
    for kind in ("PNG", "WEBP", "TIFF", "BMP", "GIF"):
        _answer(_picture(kind, 8), Limits())
    colour.ready()
    usual = _picture("JPEG", _USUAL_PX)
    confined = _confine()
    gc.collect()
    gc.freeze()
    control.sendall(confined.to_bytes(4, "big"))
    while True:
        status = _one_photo(control, usual)
        if os.waitstatus_to_exitcode(status) == _NO_MORE:
            return 0
        control.sendall(status.to_bytes(4, "big"))


def _picture(kind: str, side_px: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side_px, side_px)).save(file, kind)
    return file.getvalue()


def _confine() -> Confined:
    """No network where the kernel lets us leave it, no new privileges, and nobody
    listens to what decoders print.
    """
    left = (
        _libc("unshare", _CLONE_NEWNET) == 0
        or _libc("unshare", _CLONE_NEWUSER | _CLONE_NEWNET) == 0
    )
    _libc("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)
    return (Confined.NETWORK if left else Confined(0)) | (
        Confined.CALLS if can_refuse_calls() else Confined(0)
    )


def _die_with_parent() -> None:
    _libc("prctl", _PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def _libc(name: str, *arguments: int) -> int:
    """A call that Python has no name for; -1 on a system without it."""
    try:
        return int(getattr(ctypes.CDLL(None), name)(*arguments))
    except AttributeError:
        return -1


def _one_photo(control: socket.socket, usual: bytes) -> int:
    """Wait status of the process that did it."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _die_with_parent()
            status = _wait_and_serve(control, usual)
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1]


def _wait_and_serve(control: socket.socket, usual: bytes) -> int:
    # the heap it leaves behind is worth more than half of a photo's time
    _answer(usual, Limits())
    message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
    if not message:
        return _NO_MORE
    control.close()
    _serve(Link(socket.socket(fileno=descriptors[0])))
    return 0


def _serve(link: Link) -> None:
    request = link.receive(Asked).asked
    if isinstance(request, Conversion):
        pixels, icc = (
            link.read(request.width * request.height * 3),
            link.read(request.icc),
        )
        _limit(request)
        refuse_calls()
        answer, blobs = _converted(request, pixels, icc)
    else:
        data = link.read(request.bytes)
        _limit(request)
        refuse_calls()
        answer, blobs = _answer(data, request.limits)
    link.send(answer, *blobs)


def _limit(request: Request | Conversion) -> None:
    # The worker's clock is the limit. Without a worker this one ends two decoding
    # threads, and says so by its signal.
    seconds = math.ceil(2 * request.seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    limits = [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
    ]
    statm = Path("/proc/self/statm")
    if statm.exists():
        own = int(statm.read_text().split()[0]) * resource.getpagesize()
        limits.append((resource.RLIMIT_AS, own + request.memory_bytes))
    for kind, most in limits:
        hard = resource.getrlimit(kind)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (value, value))


def _answer(data: bytes, limits: Limits) -> tuple[Answer, list[memoryview | bytes]]:
    try:
        return _told(decode(data, limits))
    except PermanentError as error:
        fault = error
    except MemoryError:
        fault = out_of_memory()
    return Answer(said=Fault(code=fault.code, detail=_clean(fault.detail))), []


def _converted(
    request: Conversion, pixels: bytes, icc: bytes
) -> tuple[Answer, list[memoryview | bytes]]:
    try:
        image = Image.frombytes("RGB", (request.width, request.height), pixels)
        return Answer(said=Converted()), [
            colour.to_srgb("RGB", icc)[0](image).tobytes()
        ]
    except Exception as error:
        return Answer(
            said=Fault(
                code=Code.DECODE_ERROR,
                detail=_clean(f"{type(error).__name__}: {error}"),
            )
        ), []


def _told(photo: Photo) -> tuple[Answer, list[memoryview | bytes]]:
    meta, pixels = photo.meta, photo.pixels
    said = Decoded.model_validate(
        {
            "shape": pixels.shape,
            "dtype": pixels.dtype.name,
            "alpha": photo.alpha is not None,
            "icc": None if meta.icc is None else len(meta.icc),
            "exif": None if meta.exif is None else len(meta.exif),
            "dpi": meta.dpi,
            "source_mode": _clean(photo.source_mode),
            "notes": tuple(_clean(note) for note in photo.notes),
        }
    )
    arrays = [np.ascontiguousarray(a) for a in (pixels, photo.alpha) if a is not None]
    return Answer(said=said), [
        *(a.data.cast("B") for a in arrays),
        *(b for b in (meta.icc, meta.greys, meta.exif) if b),
    ]


def _clean(text: str) -> str:
    """Without what UTF-8 cannot hold: some of the words come out of the file."""
    return text.encode("utf-8", "replace").decode()[:2000]


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
