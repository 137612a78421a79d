"""Tensors of official weights files, read without PyTorch and without executing
anything in them.

`read` takes what authors publish: `.pth` in the zip format that PyTorch has written
since 1.6, and `.safetensors`. An array is a view of the mapped file wherever its type
is one of numpy's; bfloat16 is widened to float32.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_worker.engines.weight_files import pth, safetensors_file
from gpu_worker.engines.weight_files.layout import (
    Tensor,
    Unreadable,
    check_total,
    view,
)
from shared.errors import Code, PermanentError

State = dict[str, NDArray[Any]]

READERS = {
    ".pth": pth.tensors,
    ".pt": pth.tensors,
    ".ckpt": pth.tensors,
    ".safetensors": safetensors_file.tensors,
}
MOST_CHARACTERS = 200
"""Of a library's explanation, in our error."""


def read(path: Path) -> State:
    """The tensors in a weights file, by name.

    Raises `PermanentError(model_corrupt)` naming the file and the rule that it breaks:
    its format, something other than tensors, tensors beyond the file, NaN or infinity.
    """
    try:
        return _read(path)
    except Unreadable as error:
        raise _corrupt(path, str(error)) from error
    # A broken file raises whatever its first wrong byte leads to.
    except Exception as error:
        why = f"{type(error).__name__}: {error}"[:MOST_CHARACTERS]
        raise _corrupt(path, f"it cannot be read as weights ({why})") from error


def _read(path: Path) -> State:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        extension = path.suffix or "no"
        raise Unreadable(
            f"it has {extension} extension; use {', '.join(READERS)}",
        )
    with path.open("rb") as stream:
        found = reader(stream)
        data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    if not found:
        raise Unreadable("it holds no tensors")
    check_total(found.values(), len(data))
    return {name: _array(data, name, tensor) for name, tensor in found.items()}


def _array(data: mmap.mmap, name: str, tensor: Tensor) -> NDArray[Any]:
    array = view(data, tensor)
    is_float = array.dtype.kind == "f"
    if is_float and array.size:
        # No array of truth values is made: NaN and infinity show in the extremes.
        extremes = (array.min(), array.max())
        if not np.isfinite(extremes).all():
            raise Unreadable(f"tensor {name[:MOST_CHARACTERS]} holds NaN or infinity")
    return array


def _corrupt(path: Path, fault: str) -> PermanentError:
    detail = f"{path.name}: {fault}; take the file from its official source"
    return PermanentError(Code.MODEL_CORRUPT, detail)
