"""Engines run a model's network on pixels. `select` is the one place that decides which
engine a worker uses.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from gpu_worker.photo import Pixels
from shared.errors import SettingsError
from shared.models import Model
from shared.runtime.installation import how_to_add
from shared.runtime.settings import EngineSettings

CPU = "cpu"
"""`Engine.device` of every engine that computes on the CPU."""

GPU_DEVICES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""What Linux, WSL and ROCm show where there is a GPU. Looking costs nothing, importing
torch costs seconds.
"""


class OutOfMemory(Exception):
    """The device refused memory for one call; nothing was computed and a smaller window
    may fit.
    """


class DeviceLost(Exception):
    """The device answers no call of this process any more, for no photo: only a fresh
    process may get it back.
    """


class Network(Protocol):
    """One loaded, verified model."""

    model: Model
    bytes_per_px: int
    """Peak working memory per input pixel of a window: measured, with a margin."""
    kernels: str
    """Whose code computes, for the record."""

    def upscale(self, windows: Sequence[Pixels], alone: bool) -> list[Pixels]:
        """Run same-shaped windows (h, w, 1 or 3), uint8 or uint16 -> (h·scale, w·scale,
        same channels), same dtype.

        Rounds half to even like the official code. A grey window is fed as three equal
        channels and reduced back to grey. `alone` promises that no other call runs at
        the same time, so this one may use every core. Raises `OutOfMemory`,
        `DeviceLost`, and `PermanentError(invalid_output)` when the network gives NaN or
        infinity.
        """
        ...


class Engine(Protocol):
    name: str
    device: str
    lanes: int
    """Calls of `Network.upscale` that may run at the same time."""
    batch: int
    """Most windows in one call."""

    def check(self, model: Model) -> None:
        """Raises `Missing` where this engine cannot run such a model; says nothing
        about its files.
        """
        ...

    def load(self, model: Model) -> Network:
        """The network of `model`, from the cache or read and verified now. Raises as
        `gpu_worker.models.verify`.
        """
        ...

    def free_bytes(self) -> int:
        """Device memory that working buffers may use now."""
        ...


class Colorizer(Protocol):
    """One loaded, verified model that predicts colours."""

    model: Model

    def ab(self, grey: NDArray[np.float32]) -> NDArray[np.float32]:
        """(s, s, 3) float32 RGB 0..1 without colour, s a multiple of 32 -> (s, s, 2)
        float32, a and b of CIE Lab.

        Raises `OutOfMemory`, `DeviceLost`, and `PermanentError(invalid_output)` when
        the network gives NaN or infinity.
        """
        ...


@runtime_checkable
class Colorizing(Protocol):
    """An engine that runs models of this kind, too."""

    def load_colorizer(self, model: Model) -> Colorizer:
        """As `Engine.load`."""
        ...


class FaceRestorer(Protocol):
    """One loaded, verified model that restores faces."""

    model: Model

    def restore(self, face: NDArray[np.float32]) -> NDArray[np.float32]:
        """(512, 512, 3) float32 RGB 0..1, an upright face as in FFHQ -> the same,
        restored.

        The same face gives the same result. Raises `OutOfMemory`, and
        `PermanentError(invalid_output)` when the network gives NaN or infinity.
        """
        ...


@runtime_checkable
class FaceRestoring(Protocol):
    """An engine that runs models of this kind, too."""

    def load_face_restorer(self, model: Model) -> FaceRestorer:
        """As `Engine.load`."""
        ...


@runtime_checkable
class Choice(Protocol):
    """An engine that leaves some models to another one."""

    def serving(self, model: Model) -> Engine:
        """The engine that runs `model`."""
        ...


def serving(engine: Engine, model: Model | None) -> Engine:
    """The engine that runs `model`: `engine` itself, unless it is a choice between
    several.
    """
    return (
        engine.serving(model)
        if model is not None and isinstance(engine, Choice)
        else engine
    )


def select(settings: EngineSettings) -> Engine:
    """The engine that `settings.engine` names. `auto`: torch where there is a CUDA
    device, else the CPU's engines.

    Raises `SettingsError` naming the extra to install, or the fault of a GPU that
    computes nothing.
    """
    if settings.engine == "auto" and not has_cuda():
        return on_cpu(settings)
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
    """The engines of a machine without a GPU, made once: they keep loaded networks."""
    from gpu_worker.engines.auto import AutoEngine

    return AutoEngine(settings)


def has_cuda() -> bool:
    """Whether torch is installed and can use a GPU."""
    if (
        not any(Path(device).exists() for device in GPU_DEVICES)
        or importlib.util.find_spec("torch") is None
    ):
        return False
    import torch

    return bool(torch.cuda.is_available())
