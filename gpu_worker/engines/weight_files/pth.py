"""The `.pth` format that PyTorch has written since 1.6: a zip archive with one pickle,
its table of contents, and one stored entry for each storage.
"""

from __future__ import annotations

import struct
import zipfile
from dataclasses import dataclass
from typing import Any, BinaryIO

from gpu_worker.engines.weight_files import safe_pickle
from gpu_worker.engines.weight_files.layout import (
    BFLOAT16,
    Storage,
    Tensor,
    Unreadable,
)

DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": BFLOAT16,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
NESTS = (
    "model_state_dict",
    "state_dict",
    "params_ema",
    "params-ema",
    "params",
    "model",
    "net",
)
"""Names under which training code keeps the weights of a network, the better first."""
PREFIX = "module."
"""Before every name, where the network was trained on several devices."""
ZIP = b"PK\3\4"
LEGACY = b"\x80\x02\x8a\x0a"
"""How a file begins that PyTorch before 1.6 wrote, or was told to write."""
LOCAL_HEADER = struct.Struct("<26xHH")
ENCRYPTED = 1
MOST_CONTENTS_BYTES = 16_000_000
MOST_NESTS = 4


@dataclass(frozen=True)
class _StorageType:
    """A type of storage, as a pickle names it. It cannot be called."""

    dtype: str


def tensors(stream: BinaryIO) -> dict[str, Tensor]:
    """The tensors of the network in the file. Raises `Unreadable`."""
    begin = stream.read(len(LEGACY))
    if begin == LEGACY:
        raise Unreadable(
            "it has the format of PyTorch before 1.6, which only PyTorch reads; run it with DARKROOM_ENGINE=torch, "
            "or load it in PyTorch and save it again"
        )
    if begin != ZIP:
        raise Unreadable("it is no archive of PyTorch")
    entries = _entries(stream)
    state = _state(_contents(stream, entries), entries)
    found = {}
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            raise Unreadable(f"{name[:100]!r} in it is no tensor")
        found[name.removeprefix(PREFIX)] = tensor
    if len(found) != len(state):
        raise Unreadable("a name stands there twice")
    return found


def _entries(stream: BinaryIO) -> dict[str, tuple[int, int]]:
    """Each entry of the archive, without its folder: first byte and number of bytes."""
    found = {}
    with zipfile.ZipFile(stream) as archive:
        for entry in archive.infolist():
            name = entry.filename.partition("/")[2]
            if name in found:
                raise Unreadable(f"its entry {name[:100]} stands there twice")
            is_plain = entry.compress_type == zipfile.ZIP_STORED
            if not is_plain or entry.flag_bits & ENCRYPTED:
                raise Unreadable(f"its entry {name[:100]} is compressed or encrypted")
            found[name] = (_start(stream, entry.header_offset), entry.file_size)
    if any(name.startswith("code/") for name in found):
        raise Unreadable("it is a TorchScript program and was not executed")
    return found


def _start(stream: BinaryIO, header: int) -> int:
    """The first byte of the entry whose local header lies at `header`."""
    stream.seek(header)
    found = stream.read(LOCAL_HEADER.size)
    if len(found) < LOCAL_HEADER.size or found[: len(ZIP)] != ZIP:
        raise Unreadable("an entry lies where the archive has none")
    name_bytes, extra_bytes = LOCAL_HEADER.unpack(found)
    return header + LOCAL_HEADER.size + int(name_bytes) + int(extra_bytes)


def _contents(stream: BinaryIO, entries: dict[str, tuple[int, int]]) -> bytes:
    """The pickle that describes the tensors."""
    if "data.pkl" not in entries:
        raise Unreadable("it has no table of contents")
    order = _bytes(stream, entries.get("byteorder", (0, 0)))
    if order not in (b"", b"little"):
        raise Unreadable("its numbers are not in little-endian order")
    return _bytes(stream, entries["data.pkl"])


def _bytes(stream: BinaryIO, place: tuple[int, int]) -> bytes:
    start, length = place
    if length > MOST_CONTENTS_BYTES:
        raise Unreadable("its table of contents is too large to be one")
    stream.seek(start)
    return stream.read(length)


def _state(pickled: bytes, entries: dict[str, tuple[int, int]]) -> dict[str, Any]:
    """The state dictionary, taken out of what it is nested in."""

    def storage(reference: Any) -> Storage:
        return _storage(reference, entries)

    globals_: dict[str, Any] = {
        "collections OrderedDict": _ordered_dict,
        "torch._utils _rebuild_tensor_v2": _tensor,
        "torch._utils _rebuild_parameter": _parameter,
    }
    for name, dtype in DTYPES.items():
        globals_[f"torch {name}"] = _StorageType(dtype)
    state = safe_pickle.load(pickled, globals_, storage)
    for _ in range(MOST_NESTS):
        if not isinstance(state, dict):
            break
        nested = [name for name in NESTS if isinstance(state.get(name), dict)]
        if not nested:
            return state
        state = state[nested[0]]
    raise Unreadable("it holds no dictionary of tensors")


def _ordered_dict() -> dict[str, Any]:
    return {}


def _tensor(
    storage: Any,
    offset: Any,
    shape: Any,
    stride: Any,
    *_: Any,
) -> Tensor:
    """A tensor; whether a gradient is kept, hooks and metadata say nothing here."""
    is_described = isinstance(shape, tuple) and isinstance(stride, tuple)
    if not isinstance(storage, Storage) or not is_described:
        raise Unreadable("a tensor in it has no storage or no shape")
    tensor = Tensor(storage, offset, shape, stride)
    tensor.check()
    return tensor


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _storage(reference: Any, entries: dict[str, tuple[int, int]]) -> Storage:
    """The storage of `("storage", type, key, device, elements)`."""
    if not isinstance(reference, tuple) or len(reference) != 5:
        raise Unreadable("a storage in it is described in an unknown way")
    tag, kind, key, _, count = reference
    if tag != "storage" or not isinstance(kind, _StorageType):
        raise Unreadable("a storage in it is of an unknown type")
    place = entries.get(f"data/{key}") if isinstance(key, str) else None
    if place is None or type(count) is not int:
        raise Unreadable("a storage in it is missing")
    start, length = place
    storage = Storage(start, length, kind.dtype)
    if count * storage.item_bytes != length:
        raise Unreadable("a storage in it has another length than it says")
    return storage
