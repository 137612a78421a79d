"""What every step takes and gives beside the photo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gpu_worker.engines import Engine, architectures
from gpu_worker.photo import Mask, Photo
from gpu_worker.tile_runner import Placed, ignore
from shared.errors import Code, NotFound
from shared.models import Model
from shared.runtime.installation import how_to_add
from shared.runtime.settings import EngineSettings


@dataclass(frozen=True)
class Tools:
    """What a step may use. `progress` takes the fraction of the step that is done;
    `between_tiles` is called between two tiles, when the device has nothing to do.
    `seed` is the task's own, for what must look random and be the same every time.
    `mask` (height, width): what somebody painted as a picture, True where the photo is
    damaged. `placed` is told of what is done, where a step is done part by part.
    """

    settings: EngineSettings
    progress: Callable[[float], None]
    between_tiles: Callable[[], None] = lambda: None
    seed: int = 0
    mask: Mask | None = None
    placed: Placed = ignore


@dataclass(frozen=True)
class StepResult:
    """The photo that a step made.

    `detail` goes into the record. `tile` says how the photo was cut into tiles; it is
    empty when the step cuts none. `mask` (height, width): of a step that changes pixels
    in places only, True where it may have.
    """

    photo: Photo
    detail: dict[str, Any] = field(default_factory=dict)
    tile: dict[str, Any] = field(default_factory=dict)
    mask: Mask | None = None


def needs_another_engine(model: Model, engine: Engine) -> NotFound:
    """The error for a model whose kind of network `engine` cannot run."""
    way_out = "set DARKROOM_ENGINE=auto"
    if not architectures.has_graph(model):
        way_out = f"{way_out}, {how_to_add('torch')}"
    detail = (
        f"model {model.name} does not run on {engine.name}, which this worker uses; {way_out}, and "
        f"`darkroom models pull {model.name}`"
    )
    return NotFound(Code.MODEL_MISSING, detail)
