"""PyTorch's ways of saying that memory is short, or the device gone, turned into ours."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TypeVar

import torch

from gpu_worker.engines import DeviceLost, OutOfMemory

T = TypeVar("T")

SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
"""CUDA's allocator, the CPU's on Linux and on Windows, cuDNN and cuBLAS: all of them plain `RuntimeError`s."""

OF_DEVICE = ("CUDA error", "HIP error", "CUDNN_STATUS_EXECUTION_FAILED")
"""After some of these (an illegal access, a GPU that fell off its bus) every call fails, after others (a call that the
device does not support) none does."""


def within_memory(call: Callable[[], T], release: Callable[[], bool]) -> T:
    """`call()`; when memory is short, once more if `release` could give some. Raises `OutOfMemory`, `DeviceLost`."""
    for _ in range(2):
        try:
            return call()
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, RuntimeError) and not any(sign in str(error) for sign in SIGNS):
                if any(sign in str(error) for sign in OF_DEVICE) and not _answers():
                    raise DeviceLost(str(error).splitlines()[0]) from error
                raise
            said = str(error).splitlines()[0] if str(error) else "no memory"
            # The traceback holds the frames, the frames hold the tensors, and the next try needs their memory.
            traceback.clear_frames(error.__traceback__)
        if not release():
            break
    raise OutOfMemory(said)


def _answers() -> bool:
    """Whether the device still computes for this process."""
    try:
        return torch.ones(1, device="cuda").item() == 1
    except Exception as error:
        return any(sign in str(error) for sign in SIGNS)
