"""`python -m tests.unit.hostile_decoder FD`: the decoder's process, with files that do to it what exploits would do.

Every other file is decoded as always.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from gpu_worker.codec import child, decode
from gpu_worker.codec.decode import Limits
from gpu_worker.photo import Photo
from shared.errors import Code, PermanentError


def tell(what: object) -> Photo:
    raise PermanentError(Code.UNSUPPORTED_MODE, repr(what))


def inflate() -> Photo:
    tell(len(bytearray(3 << 30)))
    raise AssertionError


def spin() -> Photo:
    while True:
        pass


def kill_once(pid: int, signum: signal.Signals, marker: Path) -> Photo:
    """A folder is no file: it can be made although the process may write none."""
    if not marker.exists():
        marker.mkdir()
        os.kill(pid, signum)
        time.sleep(600)  # whom it was meant for ends us, too
    return tell("alive")


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
    b"sleep": lambda _: tell(time.sleep(600)),
    b"inflate": lambda _: inflate(),
    b"environment": lambda _: tell(dict(os.environ)),
    b"descriptors": lambda _: tell(len(list(Path("/proc/self/fd").iterdir()))),
    b"modules": lambda _: tell({n.partition(".")[0] for n in sys.modules} - sys.stdlib_module_names),
    b"limits": lambda _: tell([resource.getrlimit(k) for k in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE)]),
    b"allowance": lambda _: tell([resource.getrlimit(k)[0] for k in (resource.RLIMIT_CPU, resource.RLIMIT_AS)]),
    b"pid": lambda _: tell((os.getpid(), os.getppid())),
    b"connect": lambda port: connect(int(port)),
    b"once": lambda path: kill_once(os.getpid(), signal.SIGSEGV, Path(path)),
    b"service": lambda path: kill_once(os.getppid(), signal.SIGKILL, Path(path)),
    b"write": lambda path: write(Path(path)),
    b"surrogate": lambda _: tell("\udcff" * 5000),
}  # fmt: skip


def act(data: bytes, limits: Limits) -> Photo:
    name, _, argument = data.partition(b" ")
    return ACTS[name](argument.decode()) if name in ACTS else decode(data, limits)


if __name__ == "__main__":
    child.decode = act
    sys.exit(child.main(int(sys.argv[1])))
