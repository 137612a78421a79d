"""Engines run a model's network on pixels. `select` is the one place that decides which engine a worker uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gpu_worker.photo import Pixels
from shared.models import Model
from shared.settings import Settings


class OutOfMemory(Exception):
    """The device refused memory for one call; nothing was computed and a smaller window may fit."""


class Network(Protocol):
    """One loaded, verified model."""

    model: Model
    bytes_per_px: int
    """Peak working memory per input pixel of a window: measured, with a margin."""

    def upscale(self, windows: Sequence[Pixels], alone: bool) -> list[Pixels]:
        """Run same-shaped windows (h, w, 1 or 3), uint8 or uint16 -> (h·scale, w·scale, same channels), same dtype.

        Rounds half to even like the official code. A grey window is fed as three equal channels and reduced back
        to grey. `alone` promises that no other call runs at the same time, so this one may use every core.
        Raises `OutOfMemory`, and `PermanentError(invalid_output)` when the network gives NaN or infinity.
        """
        ...


class Engine(Protocol):
    name: str
    device: str
    lanes: int
    """Calls of `Network.upscale` that may run at the same time."""
    batch: int
    """Most windows in one call."""

    def load(self, model: Model) -> Network:
        """The network of `model`, from the cache or read and verified now. Raises as `gpu_worker.models.verify`."""
        ...

    def free_bytes(self) -> int:
        """Device memory that working buffers may use now."""
        ...


def select(settings: Settings) -> Engine:
    """The engine that `settings.engine` names; `auto` takes what the machine has."""
    from gpu_worker.engines.ncnn_engine import NcnnEngine

    return NcnnEngine(settings)
