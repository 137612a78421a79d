"""Which CUDA devices there are, on machines that say so by a stand-in of NVML."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from shared.runtime import devices
from shared.runtime.devices import Device, Load
from shared.runtime.settings import Settings

UUIDS = ("GPU-aaaa1111", "GPU-aabb2222", "GPU-cccc3333")
GIB = 1 << 30
CUDA = "CUDAExecutionProvider,CPUExecutionProvider"
REAL_DRIVER = devices._nvml


class NvmlError(Exception):
    """As `pynvml.NVMLError`."""


class Nvml:
    """The driver of a machine with three devices; the last tells no utilization, and
    what is in `lost` fell off its bus.
    """

    NVMLError = NvmlError

    def __init__(self) -> None:
        self.lost: set[str] = set()

    def nvmlDeviceGetCount(self) -> int:
        return len(UUIDS)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return self.nvmlDeviceGetHandleByUUID(UUIDS[index])

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid in self.lost:
            raise NvmlError("GPU is lost")
        return uuid

    def nvmlDeviceGetUUID(self, handle: str) -> str:
        return handle

    def nvmlDeviceGetName(self, handle: str) -> str:
        return f"card {UUIDS.index(handle)}"

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:
        return SimpleNamespace(used=3 * GIB, total=8 * GIB)

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> Any:
        if handle == UUIDS[2]:
            raise NvmlError("Not Supported")
        return SimpleNamespace(gpu=75)


@pytest.fixture(autouse=True)
def nvml(monkeypatch: pytest.MonkeyPatch) -> Nvml:
    driver = Nvml()
    monkeypatch.setattr(devices, "_nvml", lambda: driver)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return driver


def numbers(found: list[Device]) -> list[int]:
    return [UUIDS.index(device.uuid) for device in found]


def test_a_machine_without_a_driver_has_no_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "_nvml", lambda: None)
    assert devices.listed() == []
    assert devices.usable(Settings()) == []
    assert devices.load(Device(UUIDS[0], "")) is None


def test_the_real_driver_or_none_is_asked_without_an_error() -> None:
    """Whatever this machine has."""
    REAL_DRIVER.__wrapped__()


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        ("2,0", [2, 0]),
        ("1", [1]),
        (" 1 , 2 ", [1, 2]),
        ("0,7,1", [0]),
        ("GPU-cccc3333,GPU-aab", [2, 1]),
        ("GPU-aa", []),  # two begin so
        ("-1", []),
        ("", []),
    ],
)
def test_devices_are_those_that_cuda_shows(
    monkeypatch: pytest.MonkeyPatch, value: str, seen: list[int]
) -> None:
    """In the order of the variable, up to the first name that is none."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert numbers(devices.visible()) == seen


def test_a_part_of_a_device_is_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """NVML lists whole devices."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1234")
    assert devices.visible() == [Device("MIG-1234", "MIG")]


@pytest.mark.parametrize(
    ("settings", "seen"),
    [
        ({}, [0, 1, 2]),
        ({"device": "cuda"}, [0, 1, 2]),
        ({"device": "cuda:1"}, [1]),
        ({"device": "cuda:3"}, []),
        ({"device": "cpu"}, []),
        ({"engine": "ncnn"}, []),
        ({"engine": "onnxruntime"}, []),
        ({"engine": "onnxruntime", "onnx_providers": CUDA}, [0, 1, 2]),
    ],
)
def test_settings_say_which_devices_are_used(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], seen: list[int]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert numbers(devices.usable(Settings(**settings))) == seen


def test_no_device_is_used_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """But by ONNX Runtime, where that is told to."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert devices.usable(Settings()) == []
    assert numbers(devices.usable(Settings(onnx_providers=CUDA))) == [0, 1, 2]


def test_a_device_tells_how_full_and_how_busy_it_is(nvml: Nvml) -> None:
    """As far as it can: a lost one tells nothing, and no error reaches the worker."""
    first, _, last = devices.listed()
    assert devices.load(first) == Load(3 * GIB, 8 * GIB, 0.75)
    assert devices.load(last) == Load(3 * GIB, 8 * GIB, None)
    nvml.lost.add(first.uuid)
    assert devices.load(first) is None
    assert devices.listed() == []
