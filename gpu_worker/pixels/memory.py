"""What this process uses and may use of the host's memory."""

from __future__ import annotations

import re
import resource
from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")
STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")


def available_bytes() -> int:
    """Memory this process can still take: the machine's, or less where a container
    (cgroup v2) limits it.
    """
    free = int(psutil.virtual_memory().available)
    try:
        limit = int((CGROUP / "memory.max").read_text())
        used = int((CGROUP / "memory.current").read_text())
    except (OSError, ValueError):  # no such limit here
        return free
    return max(0, min(free, limit - used))


def reset_peak() -> None:
    """Start a new measurement of the peak, where the kernel allows it (Linux)."""
    try:
        CLEAR_REFS.write_text("5")
    except OSError:
        return


def peak_bytes() -> int:
    """Largest resident memory since the last reset; since the start of the process
    where a reset is not possible.
    """
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())
    except OSError:
        found = None
    kilobytes = (
        int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )
    return kilobytes * 1024
