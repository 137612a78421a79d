"""How much of the host's memory this process uses, and how much it may use."""

from __future__ import annotations

import ctypes
import os
import re
import resource
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")
STATUS = Path("/proc/self/status")
STATUS_BYTES = 1 << 14
"""More than it ever has."""
CLEAR_REFS = Path("/proc/self/clear_refs")


def available_bytes() -> int:
    """Memory that this process can still take: the machine's free memory, or less where
    a container (cgroup v2) limits it.
    """
    free = int(psutil.virtual_memory().available)
    try:
        limit = _cgroup_bytes("memory.max")
        used = _cgroup_bytes("memory.current")
    except (OSError, ValueError):  # no such limit here
        return free
    return max(0, min(free, limit - used))


def _cgroup_bytes(name: str) -> int:
    text = (CGROUP / name).read_text()
    return int(text)


def reset_peak() -> None:
    """Start a new measurement of the peak, where the kernel allows it (Linux)."""
    with suppress(OSError):
        os.write(_opened(CLEAR_REFS, os.O_WRONLY), b"5")


def peak_bytes() -> int:
    """The largest resident memory since the last reset, or since the start of the
    process where no reset is possible.
    """
    status = b""
    with suppress(OSError):
        status = os.pread(_opened(STATUS, os.O_RDONLY), STATUS_BYTES, 0)
    high_water_mark = re.search(rb"VmHWM:\s+(\d+) kB", status)
    if high_water_mark:
        kilobytes = int(high_water_mark[1])
    else:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        kilobytes = usage.ru_maxrss
    return kilobytes * 1024


@cache
def _opened(path: Path, flags: int) -> int:
    """A file of this process that stays open: a device waits while a photo's peak is
    measured, and each system call lets other threads go first.
    """
    return os.open(path, flags)


# What is open belongs to the process that opened it.
os.register_at_fork(after_in_child=_opened.cache_clear)


def give_back() -> None:
    """Have the C library return what was freed to the system, where it can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
