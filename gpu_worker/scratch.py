"""Big pictures live in a memory-mapped file without a name, so that resident memory stays bounded.

The file is unlinked from the start: a killed worker leaves nothing behind. Its space is reserved before use, because
a full disk would otherwise kill the process at a write.
"""

from __future__ import annotations

import mmap
import os
import tempfile

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gpu_worker.photo import Photo
from shared.errors import Code, PermanentError
from shared.settings import Settings


def allocate(shape: tuple[int, ...], dtype: DTypeLike, settings: Settings) -> NDArray[np.generic]:
    """An array of `shape`: in memory up to `scratch_threshold_bytes`, else mapped from a file in `scratch_dir`.

    Raises `PermanentError(out_of_memory)` when the disk has no room for it.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size <= settings.scratch_threshold_bytes:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(dir=settings.scratch_dir) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            raise PermanentError(
                Code.OUT_OF_MEMORY,
                f"the result needs {size / 1e9:.1f} GB of scratch space, which {settings.scratch_dir} does not have; "
                "free some or point DARKROOM_SCRATCH_DIR to a larger disk",
            ) from error
        return np.memmap(file, dtype, "r+", shape=shape)


def drop(array: NDArray[np.generic]) -> None:
    """Let go of the resident pages of `array` (rows of a picture, contiguous); its contents stay, in the file.

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
    """`drop` for some rows of a photo: whoever walks through a big one lets go of what lies behind."""
    drop(photo.pixels[top:bottom])
    if photo.alpha is not None:
        drop(photo.alpha[top:bottom])
