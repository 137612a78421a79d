"""The memory of the device on which PyTorch computes."""

from __future__ import annotations

import torch

from gpu_worker.pixels import memory


def available_bytes(device: torch.device) -> int:
    """Memory that this process can still take on `device`."""
    if device.type == "cpu":
        return memory.available_bytes()
    free, _ = torch.cuda.mem_get_info(device)
    return int(free) + idle_bytes(device)


def idle_bytes(device: torch.device) -> int:
    """What PyTorch holds on a CUDA device without using it."""
    reserved = torch.cuda.memory_reserved(device)
    return int(reserved - torch.cuda.memory_allocated(device))


def give_back(device: torch.device) -> None:
    """Return to the driver what PyTorch holds on `device` without using it."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def reset_peak(device: torch.device) -> None:
    """Start a new measurement of the peak."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int | None:
    """The most device memory in use since the last reset; None on the CPU, whose peak
    is that of the process.
    """
    if device.type == "cpu":
        return None
    return int(torch.cuda.max_memory_allocated(device))
