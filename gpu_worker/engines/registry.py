"""Which engine a worker uses. A new engine is added in `select`."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

from gpu_worker.engines.base import Choice, Engine
from shared.errors import SettingsError
from shared.models import Model
from shared.runtime import devices
from shared.runtime.installation import how_to_add
from shared.runtime.settings import EngineSettings

GPU_DEVICES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""What Linux, WSL and ROCm show where there is a GPU. Looking costs nothing, importing
torch costs seconds.
"""


def select(settings: EngineSettings) -> Engine:
    """The engine that `settings.engine` names. `auto`: torch where there is a CUDA
    device, else the engines that do without; these are `onnxruntime`, too.

    Raises `SettingsError` naming the extra to install, the device that is not there, or
    the fault of a GPU that computes nothing.
    """
    if settings.device.startswith("cuda") and not _has_cuda_for(settings):
        raise SettingsError(
            f"DARKROOM_DEVICE={settings.device}: the engine {settings.engine} has no CUDA device here; set "
            "DARKROOM_DEVICE=auto or cpu, or see that the driver and a PyTorch for CUDA are installed"
        )
    if settings.engine == "onnxruntime":
        return on_cpu(settings)
    if settings.engine == "auto" and (settings.device == "cpu" or not has_cuda()):
        return on_cpu(settings)
    # Each engine's module is imported only where it is used: its packages are large,
    # and not installed everywhere.
    if settings.engine == "ncnn":
        from gpu_worker.engines.ncnn_engine import NcnnEngine

        return NcnnEngine(settings)
    if importlib.util.find_spec("torch") is None:
        extra = "reference" if settings.engine == "realesrgan" else "torch"
        raise SettingsError(
            f"DARKROOM_ENGINE={settings.engine} needs PyTorch; {how_to_add(extra)}"
        )
    if settings.engine == "realesrgan":
        from gpu_worker.engines.reference import ReferenceEngine

        return ReferenceEngine(settings)
    from gpu_worker.engines.torch_engine import TorchEngine

    return TorchEngine(settings)


@cache
def on_cpu(settings: EngineSettings) -> Engine:
    """The engine of a machine without a GPU, made once: it keeps loaded networks."""
    from gpu_worker.engines.auto import AutoEngine

    return AutoEngine(settings)


def _has_cuda_for(settings: EngineSettings) -> bool:
    if settings.engine == "onnxruntime":
        return devices.names_cuda(settings)
    return settings.engine != "ncnn" and has_cuda()


def has_cuda() -> bool:
    """Whether torch is installed and can use a GPU."""
    has_device = any(Path(device).exists() for device in GPU_DEVICES)
    if not has_device or importlib.util.find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


def serving(engine: Engine, model: Model | None) -> Engine:
    """The engine that runs `model`: `engine` itself, unless it is a choice between
    several.
    """
    if model is not None and isinstance(engine, Choice):
        return engine.serving(model)
    return engine
