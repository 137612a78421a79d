"""A folder on a disk that is soon full: a tiny file system of its own, or, for who may
not mount one, a file limit.
"""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def mounted(folder: Path, size: int) -> bool:
    """Mount `size` bytes of memory as a disk there. False: we may not."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def grow(folder: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", str(folder)], check=False)


@contextmanager
def tiny_disk(folder: Path, size: int) -> Iterator[Path]:
    """Files in `folder` can have `size` bytes, together or, under the file limit, each."""
    if mounted(folder, size):
        try:
            yield folder
        finally:
            unmount(folder)
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield folder
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
