"""A smooth function in place of the colorizer's network, whose weights are not at hand
in tests.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_worker import steps
from gpu_worker.photo import Photo
from shared.models import Model, get
from shared.runtime.settings import Settings
from shared.workflows import ResolvedStep

Floats = NDArray[np.float32]
TOOLS = steps.Tools(Settings(), lambda done: None)


def smooth(grey: Floats) -> Floats:
    """(s, s, 3) -> (s, s, 2): colours that change slowly over the picture and follow
    its brightness.
    """
    side = grey.shape[0]
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / np.float32(side)
    light = grey.mean(2)
    return np.stack(
        [60 * np.sin(3 * x + light) - 10, 50 * np.cos(2 * y - light) + 20 * light], 2
    ).astype(np.float32)


class StandIn:
    """An engine whose colorizer is a plain function; it keeps what it was shown."""

    name, device, lanes, batch = "stand-in", "cpu", 1, 1

    def __init__(self, function: Any = smooth) -> None:
        self.function, self.seen = function, list[Floats]()

    def load_picture_network(self, model: Model) -> StandIn:
        return self

    def run(self, grey: Floats) -> Floats:
        self.seen.append(grey)
        result: Floats = self.function(grey)
        return result

    def load(self, model: Model) -> Any:
        raise AssertionError("no picture is enlarged here")

    def free_bytes(self) -> int:
        return 1


def coloured(
    photo: Photo, engine: Any, size: int = 512, factor: float = 1.0
) -> steps.StepResult:
    step = ResolvedStep(
        "colorize",
        get("ddcolor-modelscope"),
        {"model_size": size, "color_factor": factor},
    )
    return steps.run(photo, step, engine, TOOLS)
