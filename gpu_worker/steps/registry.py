"""Which module runs which kind of step. A new step is added here."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import cast

from gpu_worker.engines import Engine
from gpu_worker.photo import Photo
from gpu_worker.steps.base import StepResult, Tools
from shared.errors import Code, NotFound, PermanentError
from shared.runtime.installation import how_to_add
from shared.workflows import ResolvedStep

MODULES = {
    "colorize": "colorize",
    "denoise": "denoise",
    "faces": "faces",
    "dehaze": "dehaze",
    "repair": "repair",
    "upscale": "upscale",
    "finish": "final_touch",
}
"""Each kind of step and its module in this package, whose `run` has the signature of
`run` below.
"""

KINDS = tuple(MODULES)


def run(photo: Photo, step: ResolvedStep, engine: Engine, tools: Tools) -> StepResult:
    """Run one step.

    Raises `NotFound(model_missing)` when a package that the step needs is not
    installed, and whatever the step raises.
    """
    module = _module(step.kind)
    return cast(StepResult, module.run(photo, step, engine, tools))


def _module(kind: str) -> ModuleType:
    """The module of a kind of step. It is imported when a photo first needs it: some
    steps import packages that not every worker has.
    """
    if kind not in MODULES:
        raise PermanentError(Code.INTERNAL, f"this version has no step {kind!r}")
    try:
        return importlib.import_module(f"gpu_worker.steps.{MODULES[kind]}")
    except ModuleNotFoundError as error:
        detail = (
            f"step {kind} needs the package {error.name}, which is not installed; "
            f"{how_to_add('torch')}"
        )
        raise NotFound(Code.MODEL_MISSING, detail) from error
