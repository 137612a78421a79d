"""The CUDA devices of this machine: which there are, how full and how busy each is.

NVIDIA's driver answers by NVML. Without the driver, or without the package nvidia-ml-py
of the extra `torch`, there are none, and nothing fails.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from shared.runtime import environment
from shared.runtime.settings import EngineSettings

PERCENT = 100
CUDA_PROVIDERS = ("CUDAExecutionProvider", "TensorrtExecutionProvider")


@dataclass(frozen=True)
class Device:
    """One CUDA device. `uuid` (`GPU-…`) names it whatever other devices are visible."""

    uuid: str
    name: str


@dataclass(frozen=True)
class Load:
    """What all processes together take of a device. `utilization`: the fraction of the
    last moment (up to a second) in which it computed; None where the driver does not
    say.
    """

    used_bytes: int
    total_bytes: int
    utilization: float | None


def listed() -> list[Device]:
    """Every device of the machine, in the order of `nvidia-smi`."""
    nvml = _nvml()
    if nvml is None:
        return []
    try:
        handles = [
            nvml.nvmlDeviceGetHandleByIndex(index)
            for index in range(nvml.nvmlDeviceGetCount())
        ]
        return [
            Device(nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle))
            for handle in handles
        ]
    except nvml.NVMLError:
        return []


def visible() -> list[Device]:
    """The devices that `CUDA_VISIBLE_DEVICES` leaves to this process, in its order.

    As CUDA reads it, what follows a name that is no device does not count. Numbers are
    those of `nvidia-smi`.
    """
    named = environment.visible_devices()
    return listed() if named is None else list(_named(named, listed()))


def usable(settings: EngineSettings) -> list[Device]:
    """The devices on which these settings let networks run: of `cuda:1` at most one."""
    if settings.device == "cpu" or not _may_compute_on_cuda(settings):
        return []
    found = visible()
    _, _, number = settings.device.partition(":")
    if not number:
        return found
    first = int(number)
    return found[first : first + 1]


def _may_compute_on_cuda(settings: EngineSettings) -> bool:
    if settings.engine == "ncnn":
        return False
    if settings.engine == "onnxruntime":
        return names_cuda(settings)
    return names_cuda(settings) or importlib.util.find_spec("torch") is not None


def names_cuda(settings: EngineSettings) -> bool:
    """Whether an execution provider of ONNX Runtime that is set is one of CUDA devices."""
    return any(name in settings.onnx_providers for name in CUDA_PROVIDERS)


def load(device: Device) -> Load | None:
    """The load of `device` at this moment; None where the driver does not answer."""
    nvml = _nvml()
    if nvml is None:
        return None
    try:
        handle = nvml.nvmlDeviceGetHandleByUUID(device.uuid)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError:
        return None
    return Load(int(memory.used), int(memory.total), _utilization(nvml, handle))


def _utilization(nvml: Any, handle: Any) -> float | None:
    try:
        rates = nvml.nvmlDeviceGetUtilizationRates(handle)
    except nvml.NVMLError:  # a part of a device (MIG) has none
        return None
    return float(rates.gpu) / PERCENT


def _named(text: str, found: list[Device]) -> Iterator[Device]:
    for entry in text.split(","):
        device = _called(entry.strip(), found)
        if device is None:
            return
        yield device


def _called(name: str, found: list[Device]) -> Device | None:
    """The device of a number, of a UUID or its beginning; a part of a device (MIG) is
    taken at its word, as it is in no list.
    """
    if name.isdecimal():
        return found[int(name)] if int(name) < len(found) else None
    if name.startswith("MIG-"):
        return Device(name, "MIG")
    matching = [device for device in found if name and device.uuid.startswith(name)]
    return matching[0] if len(matching) == 1 else None


@cache
def _nvml() -> Any | None:
    """NVML, ready for calls; None where it is not there."""
    try:
        import pynvml
    except ModuleNotFoundError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml
