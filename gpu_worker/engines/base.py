"""What every engine and every network offers, and the errors of a device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from gpu_worker.photo import Mask, Pixels
from shared.models import Model

Floats = NDArray[np.float32]

CPU = "cpu"
"""`Engine.device` of every engine that computes on the CPU."""


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

        The result is rounded half to even like the official code's. A grey window is
        fed as three equal channels and reduced back to grey. `alone` promises that no
        other call runs at the same time, so this one may use every core. Raises
        `OutOfMemory`, `DeviceLost`, and `PermanentError(invalid_output)` when the
        network gives NaN or infinity.
        """
        ...


class Engine(Protocol):
    """Loads networks and runs them on one device."""

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


@runtime_checkable
class MeasuresMemory(Protocol):
    """An engine that knows how much of its device's memory it used."""

    def reset_peak(self) -> None:
        """Start a new measurement."""
        ...

    def peak_bytes(self) -> int | None:
        """The most device memory in use since the last `reset_peak`; None on the CPU."""
        ...


class PictureNetwork(Protocol):
    """One loaded, verified model that takes a whole picture: a colorizer, a restorer of
    faces.
    """

    model: Model

    def run(self, picture: Floats) -> Floats:
        """(h, w, 3) float32 RGB 0..1 -> (h, w, c) float32: RGB 0..1, or a and b of CIE
        Lab, as its `Architecture` says. Sides are multiples of the architecture's.

        The same picture gives the same result. Raises `OutOfMemory`, `DeviceLost`, and
        `PermanentError(invalid_output)` when the network gives NaN or infinity.
        """
        ...


@runtime_checkable
class RunsPictures(Protocol):
    """An engine that runs networks on whole pictures, too."""

    def load_picture_network(self, model: Model) -> PictureNetwork:
        """As `Engine.load`."""
        ...


@runtime_checkable
class MixesWeights(Protocol):
    """An engine that runs networks of mixed weights, too."""

    def load_mixed(self, model: Model, weak: Model, share: float) -> Network:
        """As `Engine.load`: the network whose weights are `share` (0..1) of `model` and
        the rest of `weak`.
        """
        ...


class HoleFiller(Protocol):
    """One loaded, verified model that fills the holes of a picture."""

    model: Model

    def fill(self, window: NDArray[np.uint8], mask: Mask) -> NDArray[np.uint8]:
        """(h, w, 3) uint8 RGB and (h, w) bool, True in the holes -> the window with its
        holes filled, every other pixel unchanged.

        The same window gives the same result. Raises `OutOfMemory`, and
        `PermanentError(invalid_output)` when the network gives NaN or infinity.
        """
        ...


@runtime_checkable
class FillsHoles(Protocol):
    """An engine that runs networks which fill holes, too."""

    def load_hole_filler(self, model: Model) -> HoleFiller:
        """As `Engine.load`."""
        ...


@runtime_checkable
class Choice(Protocol):
    """An engine that leaves some models to another one."""

    def serving(self, model: Model) -> Engine:
        """The engine that runs `model`."""
        ...
