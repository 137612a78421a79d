"""PyTorch's errors for memory that is short and for a device that is gone, turned into
ours.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TypeVar

import torch

from gpu_worker.engines.base import DeviceLost, OutOfMemory
from shared.errors import SettingsError

T = TypeVar("T")

MEMORY_SIGNS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "ALLOC_FAILED",
    "INT_MAX elements",
)
"""CUDA's allocator, the CPU's on Linux and on Windows, cuDNN and cuBLAS, and kernels
that count a tensor's values with 31 bits: all of them plain `RuntimeError`s, and a
smaller window may fit.
"""

DEVICE_SIGNS = ("CUDA error", "HIP error", "CUDNN_STATUS_EXECUTION_FAILED")
"""After some of these (an illegal access, a GPU that fell off its bus) every call
fails, after others (a call that the device does not support) none does.
"""


def within_memory(call: Callable[[], T], release: Callable[[], bool]) -> T:
    """The result of `call()`. When memory is short, it is called once more if `release`
    could free some.

    Raises `OutOfMemory`, `DeviceLost`, and whatever else `call` raises.
    """
    for _ in range(2):
        try:
            return call()
        except (RuntimeError, MemoryError) as error:
            if not _is_short_of_memory(error):
                if _has_sign(error, DEVICE_SIGNS) and _device_fault():
                    raise DeviceLost(_first_line(error)) from error
                raise
            fault = _first_line(error) or "no memory"
            # The traceback holds the frames, the frames hold the tensors, and the next
            # try needs their memory.
            traceback.clear_frames(error.__traceback__)
        if not release():
            break
    raise OutOfMemory(fault)


def must_compute() -> None:
    """Raises `SettingsError` where the GPU computes nothing: photo after photo would
    lose its attempts on it.
    """
    fault = _device_fault()
    if fault:
        raise SettingsError(
            f"the GPU is there, but computes nothing ({fault}); mend it, or set DARKROOM_ENGINE=ncnn"
        )


def _device_fault() -> str:
    """Why the device computes nothing for this process; empty when it does."""
    try:
        torch.ones(1, device="cuda").item()
    except Exception as error:
        if not _has_sign(error, MEMORY_SIGNS):
            return _first_line(error) or type(error).__name__
    return ""


def _is_short_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or _has_sign(error, MEMORY_SIGNS)


def _has_sign(error: Exception, signs: tuple[str, ...]) -> bool:
    text = str(error)
    return any(sign in text for sign in signs)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
