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
from typing import cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gpu_worker.photo import Depth, Photo, Pixels
from shared.errors import Code, PermanentError, TransientError
from shared.runtime.settings import ScratchSettings

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def allocate(
    shape: tuple[int, ...],
    dtype: DTypeLike,
    settings: ScratchSettings,
) -> NDArray[np.generic]:
    """An array of `shape`, its contents undefined.

    Up to `scratch_threshold_bytes` it lies in memory, above that in a file of
    `scratch_dir`. Raises `PermanentError(out_of_memory)` when the disk could not hold
    it even if it were empty, and `TransientError(disk_full)` when it has no room now.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size <= settings.scratch_threshold_bytes:
        return np.empty(shape, dtype)
    if size > shutil.disk_usage(settings.scratch_dir).total:
        detail = (
            f"the result needs {size / 1e9:.1f} GB of scratch space, which "
            f"{settings.scratch_dir} does not have; point DARKROOM_SCRATCH_DIR to a larger disk"
        )
        raise PermanentError(Code.OUT_OF_MEMORY, detail)
    with disk(settings), tempfile.TemporaryFile(dir=settings.scratch_dir) as file:
        os.posix_fallocate(file.fileno(), 0, size)
        return np.memmap(file, dtype, "r+", shape=shape)


def picture(
    shape: tuple[int, int, int],
    dtype: Depth,
    settings: ScratchSettings,
) -> Pixels:
    """An array for the pixels of a picture (h, w, c), as `allocate`."""
    return cast(Pixels, allocate(shape, dtype, settings))


@contextmanager
def disk(settings: ScratchSettings) -> Iterator[None]:
    """A context for work with files in `scratch_dir`.

    Raises `TransientError(disk_full)` when the disk is full, which is no fault of the
    photo.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        detail = (
            f"{settings.scratch_dir} is full; free some space or point "
            "DARKROOM_SCRATCH_DIR to another disk"
        )
        raise TransientError(Code.DISK_FULL, detail) from error


def drop(array: NDArray[np.generic]) -> None:
    """Release the resident pages of `array`, contiguous rows of a mapped picture.

    The contents stay, in the file. An array in memory is left alone.
    """
    root = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    mapping = root.base
    if not isinstance(mapping, mmap.mmap) or not array.size:
        return
    offset = _address(array) - _address(root)
    # The kernel releases whole pages, from a page's beginning.
    start = offset // mmap.PAGESIZE * mmap.PAGESIZE
    length = offset + array.nbytes - start
    mapping.madvise(mmap.MADV_DONTNEED, start, length)


def _address(array: NDArray[np.generic]) -> int:
    address, _ = array.__array_interface__["data"]
    return int(address)


def drop_rows(photo: Photo, top: int, bottom: int) -> None:
    """`drop` for rows [top, bottom) of a photo, once a walk through it is past them."""
    drop(photo.pixels[top:bottom])
    if photo.alpha is not None:
        drop(photo.alpha[top:bottom])
