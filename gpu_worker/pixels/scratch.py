"""Big pictures live in a memory-mapped file without a name, so that resident memory
stays bounded.

The file is unlinked from the start: a killed worker leaves nothing behind. Its space is
reserved before use, because a full disk would otherwise kill the process at a write.
"""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gpu_worker.photo import Photo
from shared.errors import Code, PermanentError, TransientError
from shared.runtime.settings import Settings

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def allocate(
    shape: tuple[int, ...], dtype: DTypeLike, settings: Settings
) -> NDArray[np.generic]:
    """An array of `shape`: in memory up to `scratch_threshold_bytes`, else mapped from
    a file in `scratch_dir`.

    Raises `PermanentError(out_of_memory)` when the disk could not hold it if it were
    empty, and `TransientError(disk_full)` when it has no room now.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size <= settings.scratch_threshold_bytes:
        return np.empty(shape, dtype)
    if size > shutil.disk_usage(settings.scratch_dir).total:
        raise PermanentError(
            Code.OUT_OF_MEMORY,
            f"the result needs {size / 1e9:.1f} GB of scratch space, which {settings.scratch_dir} does not have; "
            "point DARKROOM_SCRATCH_DIR to a larger disk",
        )
    with disk(settings), tempfile.TemporaryFile(dir=settings.scratch_dir) as file:
        os.posix_fallocate(file.fileno(), 0, size)
        return np.memmap(file, dtype, "r+", shape=shape)


@contextmanager
def disk(settings: Settings) -> Iterator[None]:
    """Around work with files in `scratch_dir`: a full disk is no fault of the photo,
    `TransientError(disk_full)`.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        detail = f"{settings.scratch_dir} is full; free some space or point DARKROOM_SCRATCH_DIR to another disk"
        raise TransientError(Code.DISK_FULL, detail) from error


def drop(array: NDArray[np.generic]) -> None:
    """Let go of the resident pages of `array` (rows of a picture, contiguous); its
    contents stay, in the file.

    Does nothing for an array in memory.
    """
    root = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    if not isinstance(root.base, mmap.mmap) or not array.size:
        return
    first = array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    start = first // mmap.PAGESIZE * mmap.PAGESIZE
    root.base.madvise(mmap.MADV_DONTNEED, start, first + array.nbytes - start)


def drop_rows(photo: Photo, top: int, bottom: int) -> None:
    """`drop` for some rows of a photo: whoever walks through a big one lets go of what
    lies behind.
    """
    drop(photo.pixels[top:bottom])
    if photo.alpha is not None:
        drop(photo.alpha[top:bottom])
