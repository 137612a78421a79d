"""The `.safetensors` format: the length of a JSON header, the header, raw bytes.

https://huggingface.co/docs/safetensors describes it.
"""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO

from gpu_worker.engines.weight_files.layout import (
    BFLOAT16,
    Storage,
    Tensor,
    Unreadable,
)

DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": BFLOAT16,
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}
LENGTH = struct.Struct("<Q")
MOST_HEADER_BYTES = 16_000_000
FIELDS = {"dtype", "shape", "data_offsets"}


def tensors(stream: BinaryIO) -> dict[str, Tensor]:
    """The tensors that the header names. Raises `Unreadable`."""
    prefix = stream.read(LENGTH.size)
    if len(prefix) < LENGTH.size:
        raise Unreadable("it is too short for .safetensors")
    (header_bytes,) = LENGTH.unpack(prefix)
    if header_bytes > MOST_HEADER_BYTES:
        raise Unreadable("its header is larger than any real one")
    header = _parsed(stream.read(header_bytes))
    header.pop("__metadata__", None)
    start = LENGTH.size + header_bytes
    return {name: _tensor(entry, start) for name, entry in header.items()}


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"its header is no JSON ({error})") from error
    if not isinstance(header, dict):
        raise Unreadable("its header is no JSON object")
    return header


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _tensor(entry: Any, data_start: int) -> Tensor:
    if not isinstance(entry, dict) or entry.keys() != FIELDS:
        raise Unreadable("its header describes something other than tensors")
    dtype = DTYPES.get(str(entry["dtype"]))
    if dtype is None:
        raise Unreadable(f"tensors of type {str(entry['dtype'])[:20]!r} are not read")
    shape = _whole_numbers(entry["shape"])
    offsets = _whole_numbers(entry["data_offsets"])
    if len(offsets) != 2:
        raise Unreadable("a tensor does not lie between two offsets")
    begin, end = offsets
    storage = Storage(data_start + begin, end - begin, dtype)
    tensor = Tensor(storage, 0, shape, _stride(shape))
    if tensor.size * storage.item_bytes != storage.length:
        raise Unreadable("a tensor's shape and its number of bytes do not agree")
    return tensor


def _whole_numbers(found: Any) -> tuple[int, ...]:
    if isinstance(found, list) and all(type(one) is int and one >= 0 for one in found):
        return tuple(found)
    raise Unreadable("a tensor's shape or place is no list of whole numbers")


def _stride(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The elements between neighbours of each axis, rows one after the other."""
    steps = [1]
    for length in reversed(shape[1:]):
        steps.append(steps[-1] * length)
    return tuple(reversed(steps)) if shape else ()
