"""How a process that works on bytes of strangers gives up what it does not need: its
network, new privileges, what it prints, and most of its memory and time.

`shared.runtime.seccomp` takes files, programs and sockets away besides.
"""

from __future__ import annotations

import ctypes
import math
import os
import resource
import signal
from pathlib import Path

OPEN_FILES = 32
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_STATM = Path("/proc/self/statm")


def die_with_parent() -> None:
    """Have the kernel end this process when its parent ends."""
    _libc("prctl", _PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def leave_network() -> bool:
    """Whether this process got a network of its own: by right, or as the root of a user
    namespace of its own.
    """
    if _libc("unshare", _CLONE_NEWNET) == 0:
        return True
    return _libc("unshare", _CLONE_NEWUSER | _CLONE_NEWNET) == 0


def give_up_privileges() -> None:
    """Get no new privileges from now on, as a filter of system calls needs it."""
    _libc("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def silence(*descriptors: int) -> None:
    """Throw away what libraries print to these descriptors."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(null, descriptor)
    os.close(null)


def limit(cpu_seconds: float, memory_bytes: int, file_bytes: int = 0) -> None:
    """Limit this process: its time on processors [s], the memory that it takes beside
    what it has already [bytes], its files, and the size of one that it writes [bytes].
    """
    seconds = math.ceil(cpu_seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    _set_limit(resource.RLIMIT_CORE, 0)
    _set_limit(resource.RLIMIT_FSIZE, file_bytes)
    _set_limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    if _STATM.exists():
        pages = int(_STATM.read_text().split()[0])
        own_bytes = pages * resource.getpagesize()
        _set_limit(resource.RLIMIT_AS, own_bytes + memory_bytes)


def _set_limit(kind: int, most: int) -> None:
    """Set a limit, or keep a lower one that holds already."""
    _, hard = resource.getrlimit(kind)
    value = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (value, value))


def _libc(name: str, *arguments: int) -> int:
    """A call that Python has no name for; -1 on a system without it."""
    try:
        return int(getattr(ctypes.CDLL(None), name)(*arguments))
    except AttributeError:
        return -1
