"""One file per kind of step. `run` is the one place that knows which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gpu_worker.engines import Engine
from gpu_worker.photo import Photo
from shared.errors import Code, PermanentError
from shared.settings import Settings
from shared.workflows import ResolvedStep


@dataclass(frozen=True)
class Tools:
    """What a step may use. `progress` takes the fraction of this step that is done."""

    settings: Settings
    progress: Callable[[float], None]


@dataclass(frozen=True)
class Outcome:
    """A step's photo; `detail` is for the record; `tile` is how it was tiled, if it was."""

    photo: Photo
    detail: dict[str, Any] = field(default_factory=dict)
    tile: dict[str, Any] = field(default_factory=dict)


def run(photo: Photo, step: ResolvedStep, engine: Engine, tools: Tools) -> Outcome:
    """Run one step. Raises `DarkroomError`s of the step."""
    from gpu_worker.steps import finish, upscale

    known = {"upscale": upscale.run, "finish": finish.run}
    if step.kind not in known:
        raise PermanentError(Code.INTERNAL, f"this version has no step {step.kind!r}")
    return known[step.kind](photo, step, engine, tools)
