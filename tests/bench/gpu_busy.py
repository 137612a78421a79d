"""How busy a device is while something runs."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable
from typing import Any

import torch

from shared.runtime import devices

EVERY_S = 0.05


class Busy:
    """A context, entered again and again, that asks NVML how busy the device is."""

    def __init__(self) -> None:
        self._device = next(iter(devices.visible()), None)
        self._seen: list[float] = []
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        assert self._thread is not None
        self._thread.join()

    def mean(self) -> float | None:
        """Mean of all samples, 0 to 1; None where NVML says nothing."""
        return statistics.fmean(self._seen) if self._seen else None

    def _watch(self) -> None:
        while self._device is not None and not self._end.wait(EVERY_S):
            load = devices.load(self._device)
            if load is not None and load.utilization is not None:
                self._seen.append(load.utilization)


def kernel_seconds(device: torch.device, call: Callable[[], Any]) -> float | None:
    """The time that kernels and copies take on the device during `call`; None on the
    CPU.
    """
    if device.type == "cpu":
        call()
        return None
    activity = torch.profiler.ProfilerActivity.CUDA
    with torch.profiler.profile(activities=[activity]) as profile:
        call()
        torch.cuda.synchronize(device)
    microseconds = sum(event.self_device_time_total for event in profile.key_averages())
    return float(microseconds) / 1e6
