"""One file per kind of step. `run` is the one place that knows which."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from gpu_worker.engines import Engine
from gpu_worker.photo import Photo
from shared.errors import Code, NotFound, PermanentError
from shared.runtime.installation import how_to_add
from shared.runtime.settings import Settings
from shared.workflows import ResolvedStep


@dataclass(frozen=True)
class Tools:
    """What a step may use. `progress` takes the fraction of this step that is done."""

    settings: Settings
    progress: Callable[[float], None]


@dataclass(frozen=True)
class Outcome:
    """A step's photo; `detail` is for the record; `tile` is how it was tiled, if it
    was.
    """

    photo: Photo
    detail: dict[str, Any] = field(default_factory=dict)
    tile: dict[str, Any] = field(default_factory=dict)


KINDS = ("colorize", "denoise", "faces", "dehaze", "upscale", "finish")
"""Each is a module here with a function `run` like the one below."""


def run(photo: Photo, step: ResolvedStep, engine: Engine, tools: Tools) -> Outcome:
    """Run one step. Raises what the step raises, and `NotFound(model_missing)` where a
    package it needs is missing.
    """
    if step.kind not in KINDS:
        raise PermanentError(Code.INTERNAL, f"this version has no step {step.kind!r}")
    try:
        module = importlib.import_module(f"gpu_worker.steps.{step.kind}")
    except ModuleNotFoundError as error:
        raise NotFound(
            Code.MODEL_MISSING,
            f"step {step.kind} needs the package {error.name}, which is not installed; {how_to_add('torch')}",
        ) from error
    return cast(Outcome, module.run(photo, step, engine, tools))
