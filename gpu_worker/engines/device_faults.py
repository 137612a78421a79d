"""PyTorch's ways of saying that memory is short, or the device gone, turned into ours."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TypeVar

import torch

from gpu_worker.engines import DeviceLost, OutOfMemory
from shared.errors import SettingsError

T = TypeVar("T")

SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
"""CUDA's allocator, the CPU's on Linux and on Windows, cuDNN and cuBLAS: all of them
plain `RuntimeError`s.
"""

OF_DEVICE = ("CUDA error", "HIP error", "CUDNN_STATUS_EXECUTION_FAILED")
"""After some of these (an illegal access, a GPU that fell off its bus) every call
fails, after others (a call that the device does not support) none does.
"""


def within_memory(call: Callable[[], T], release: Callable[[], bool]) -> T:
    """`call()`; when memory is short, once more if `release` could give some. Raises
    `OutOfMemory`, `DeviceLost`.
    """
    for _ in range(2):
        try:
            return call()
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, RuntimeError) and not any(
                sign in str(error) for sign in SIGNS
            ):
                if any(sign in str(error) for sign in OF_DEVICE) and _fault():
                    raise DeviceLost(str(error).splitlines()[0]) from error
                raise
            said = str(error).splitlines()[0] if str(error) else "no memory"
            # The traceback holds the frames, the frames hold the tensors, and the next
            # try needs their memory.
            traceback.clear_frames(error.__traceback__)
        if not release():
            break
    raise OutOfMemory(said)


def must_compute() -> None:
    """Raises `SettingsError` where the GPU computes nothing: photo after photo would
    lose its tries on it.
    """
    if fault := _fault():
        raise SettingsError(
            f"the GPU is there, but computes nothing ({fault}); mend it, or set DARKROOM_ENGINE=ncnn"
        )


def _fault() -> str:
    """Why the device computes nothing for this process; empty: it does."""
    try:
        torch.ones(1, device="cuda").item()
    except Exception as error:
        if not any(sign in str(error) for sign in SIGNS):
            return str(error).partition("\n")[0] or type(error).__name__
    return ""
