"""`python -m tests.support.hostile_decoder FD`: the decoder's process, with files that do
to it what exploits would do.

Every other file is decoded as always.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gpu_worker.codec import decode, sandbox_child
from gpu_worker.codec.decode import Limits
from gpu_worker.codec.ipc import Conversion, Converted, Response
from gpu_worker.photo import Photo
from shared.errors import Code, PermanentError
from tests.support.codec_samples import quarters, saved


def tell(what: object) -> Photo:
    raise PermanentError(Code.UNSUPPORTED_MODE, repr(what))


def inflate() -> Photo:
    tell(len(bytearray(3 << 30)))
    raise AssertionError


def spin() -> Photo:
    while True:
        pass


def talk_nonsense() -> Photo:
    """An answer that is none, over the connection, and then no end."""
    for descriptor in range(3, 64):
        with suppress(OSError):
            os.write(descriptor, b"\xff" * 100)
    time.sleep(600)
    raise AssertionError


BEFORE = mmap.mmap(-1, 1)
"""Shared by all processes of one service: the only thing that a photo's process can
leave behind.
"""
PR_SET_NAME = 15
IN_HAND = b"in hand"


def die_once() -> Photo:
    if BEFORE[0] == 0:
        BEFORE[0] = 1
        os.kill(os.getpid(), signal.SIGSEGV)
    return tell("alive")


def wait_for(marker: Path) -> Photo:
    """The process's name tells a test that the photo is in hand; files cannot."""
    ctypes.CDLL(None).prctl(PR_SET_NAME, IN_HAND, 0, 0, 0)
    while not marker.exists():
        time.sleep(0.01)
    return tell("alive")


def attempts(*calls: Callable[[], object]) -> Photo:
    """The error numbers of calls, 0 for one that came through."""
    found = []
    for call in calls:
        try:
            call()
            found.append(0)
        except OSError as error:
            found.append(error.errno or -1)
        except ValueError:  # how setrlimit says it
            found.append(errno.EPERM)
    return tell(found)


def connect(port: int) -> Photo:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError as error:
        return tell(error)
    return tell("connected")


def write(path: Path) -> Photo:
    try:
        path.write_text("loot")
    except OSError as error:
        return tell(error)
    return tell("written")


ACTS: dict[bytes, Callable[[str], Photo]] = {
    b"segv": lambda _: tell(ctypes.string_at(8)),
    b"abort": lambda _: os.abort(),
    b"kill": lambda _: tell(os.kill(os.getpid(), signal.SIGKILL)),
    b"exit": lambda _: os._exit(0),
    b"spin": lambda _: spin(),
    b"nonsense": lambda _: talk_nonsense(),
    b"sleep": lambda _: tell(time.sleep(600)),
    b"inflate": lambda _: inflate(),
    b"environment": lambda _: tell(dict(os.environ)),
    b"descriptors": lambda _: tell(
        len([fd for fd in range(64) if Path(f"/proc/self/fd/{fd}").exists()])
    ),
    b"modules": lambda _: tell(
        {n.partition(".")[0] for n in sys.modules} - sys.stdlib_module_names
    ),
    b"limits": lambda _: tell(
        [resource.getrlimit(k) for k in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE)]
    ),
    b"allowance": lambda _: tell(
        [resource.getrlimit(k) for k in (resource.RLIMIT_CPU, resource.RLIMIT_AS)]
    ),
    b"network": lambda _: tell(Path("/proc/self/ns/net").stat().st_ino),
    b"pid": lambda _: tell((os.getpid(), os.getppid())),
    b"connect": lambda port: connect(int(port)),
    b"once": lambda _: die_once(),
    b"wait": lambda path: wait_for(Path(path)),
    b"reach": lambda path: attempts(
        lambda: socket.socket(socket.AF_INET),
        lambda: socket.socket(socket.AF_UNIX),
        socket.socketpair,
        lambda: os.execv("/bin/true", ["true"]),
        os.fork,
        lambda: Path(path).read_bytes(),
        lambda: Path(path).unlink(),
        lambda: os.kill(os.getppid(), 0),
        lambda: os.kill(-1, 0),
        lambda: resource.setrlimit(resource.RLIMIT_CPU, (9, 9)),
    ),
    b"write": lambda path: write(Path(path)),
    b"surrogate": lambda _: tell("\udcff" * 5000),
}


def act(data: bytes, limits: Limits, page: int = 1) -> Photo:
    name, _, argument = data.partition(b" ")
    if name in ACTS:
        return ACTS[name](argument.decode())
    return decode(data, limits, page)


def convert(request: Conversion, pixels: bytes, icc: bytes) -> sandbox_child.Reply:
    """What a profile that took the process over would answer."""
    if icc == b"more":
        return Response(result=Converted()), [b"\xff" * (len(pixels) + 1_000_000)]
    if icc == b"less":
        return Response(result=Converted()), [b"\xff"]
    if icc == b"photo":
        return sandbox_child._decoded_or_fault(saved(quarters(), "PNG"), Limits())
    if icc in ACTS:
        act(icc, Limits())
    return honest(request, pixels, icc)


honest = sandbox_child._converted

if __name__ == "__main__":
    sandbox_child.decode, sandbox_child._converted = act, convert
    sys.exit(sandbox_child.main(int(sys.argv[1])))
