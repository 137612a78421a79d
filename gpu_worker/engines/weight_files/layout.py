"""Where a tensor lies in a file, and the view of it, which never reaches beyond its
storage.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BFLOAT16 = "bfloat16"
"""The upper half of a float32, a type that numpy does not have."""
MOST_DIMENSIONS = 8
MOST_SHARING = 2
"""Tensors may share storages, but together they are at most this many times the file:
a small file must not become large arrays.
"""


class Unreadable(ValueError):
    """A weights file breaks a rule; the text is the middle of a sentence about it."""


@dataclass(frozen=True)
class Storage:
    """`length` bytes of the file from `start`, elements of one type.

    `dtype`: a numpy type in little-endian order, or `BFLOAT16`.
    """

    start: int
    length: int
    dtype: str

    @property
    def item_bytes(self) -> int:
        return np.dtype(_stored_as(self.dtype)).itemsize


@dataclass(frozen=True)
class Tensor:
    """A tensor in a storage; `offset` and `stride` count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def check(self) -> None:
        """Raises `Unreadable` where the tensor is no part of its storage."""
        numbers = (self.offset, *self.shape, *self.stride)
        if any(type(number) is not int or number < 0 for number in numbers):
            raise Unreadable(
                "a tensor's shape holds something other than whole numbers"
            )
        dimensions = len(self.shape)
        if dimensions != len(self.stride) or dimensions > MOST_DIMENSIONS:
            raise Unreadable("a tensor has as many strides as no shape has dimensions")
        steps = [
            (length - 1) * step
            for length, step in zip(self.shape, self.stride, strict=True)
        ]
        end = self.offset + sum(steps) + 1 if self.size else self.offset
        available = self.storage.length // self.storage.item_bytes
        # The second: strides of 0 would repeat one element without end.
        if end > available or self.size > available:
            raise Unreadable("a tensor reaches beyond its storage")


def check_total(tensors: Iterable[Tensor], file_bytes: int) -> None:
    """Raises `Unreadable` where the tensors together are larger than the file allows."""
    total = sum(tensor.size * tensor.storage.item_bytes for tensor in tensors)
    if total > MOST_SHARING * file_bytes:
        raise Unreadable("its tensors together are larger than the file")


def view(data: Any, tensor: Tensor) -> NDArray[Any]:
    """The array of `tensor` in the mapped file `data`: read-only, no copy; bfloat16 is
    widened.
    """
    tensor.check()
    storage = tensor.storage
    if storage.start < 0 or storage.start + storage.length > len(data):
        raise Unreadable("a storage reaches beyond the file")
    dtype = np.dtype(_stored_as(storage.dtype))
    array: NDArray[Any] = np.ndarray(
        tensor.shape,
        dtype,
        data,
        storage.start + tensor.offset * dtype.itemsize,
        [step * dtype.itemsize for step in tensor.stride],
    )
    if storage.dtype != BFLOAT16:
        return array
    upper_half = array.astype(np.uint32) << 16
    return upper_half.view(np.float32)


def _stored_as(dtype: str) -> str:
    return "<u2" if dtype == BFLOAT16 else dtype
