"""`python -m infra.bench stand_in`: a worker like any other, but for its device,
which sleeps in place of computing. What it would keep a real card waiting for shows.

For `darkroom bench lanes`, on servers of its own: its results are no restorations.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence

import numpy as np

from gpu_worker import worker
from gpu_worker.engines import Network
from gpu_worker.photo import Pixels
from shared.models import Model
from shared.runtime import telemetry
from shared.runtime.settings import Settings

FREE_BYTES = 16 << 30
BYTES_PER_PX = 2_600


class StandInNetwork:
    """Takes `seconds` for each window, and enlarges it by repeating pixels."""

    bytes_per_px = BYTES_PER_PX
    kernels = "stand-in"

    def __init__(self, model: Model, seconds: float, device: threading.Lock) -> None:
        self.model = model
        self._seconds = seconds
        self._device = device

    def upscale(self, windows: Sequence[Pixels], alone: bool) -> list[Pixels]:  # noqa: ARG002 - as every network
        return [self._upscale(window) for window in windows]

    def _upscale(self, window: Pixels) -> Pixels:
        with self._device:
            began_s = time.monotonic()
            time.sleep(self._seconds)
            ended_s = time.monotonic()
        print(json.dumps({"began_s": began_s, "ended_s": ended_s}), flush=True)
        scale = self.model.scale
        rows = np.repeat(window, scale, axis=0)
        pixels: Pixels = np.repeat(rows, scale, axis=1)
        return pixels


class StandInEngine:
    """One device that does one window at a time."""

    name = "stand-in"
    device = "stand-in"
    lanes = 1
    batch = 1

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._device = threading.Lock()

    def check(self, model: Model) -> None:
        """It runs every model."""

    def load(self, model: Model) -> Network:
        return StandInNetwork(model, self._seconds, self._device)

    def free_bytes(self) -> int:
        return FREE_BYTES


def run(settings: Settings, device_ms: float) -> int:
    """Run until SIGTERM, and print a line for each window: when the device began and
    ended it (monotonic seconds).
    """
    telemetry.configure(settings, "worker")
    return worker.main(settings, StandInEngine(device_ms / 1000))
