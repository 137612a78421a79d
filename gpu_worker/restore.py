"""One photo through one workflow: its steps in order, timed, within the limits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gpu_worker import engines, steps
from gpu_worker.engines import Engine
from gpu_worker.photo import Photo
from gpu_worker.pixels import memory
from shared.errors import Code, PermanentError
from shared.runtime.settings import Settings
from shared.uploads.documents import StepTime
from shared.workflows import ResolvedStep, ResolvedWorkflow

MAX_RESULT_BYTES = 5_000_000_000
"""What S3 takes in one PUT. A PNG of a noisy scan is hardly smaller than its pixels."""


@dataclass(frozen=True)
class Restored:
    """`tile`: how the last tiled step was cut. `peak_memory_bytes`: largest resident
    memory meanwhile.
    """

    photo: Photo
    steps: list[StepTime]
    tile: dict[str, Any]
    engine: str
    device: str
    peak_memory_bytes: int


def restore(
    photo: Photo,
    workflow: ResolvedWorkflow,
    engine: Engine,
    settings: Settings,
    progress: Callable[[float], None],
) -> Restored:
    """Run every step of `workflow`. `progress` gets the fraction done after each tile:
    silence means stuck.

    Raises `PermanentError`: `too_many_pixels` before any work, else what a step raises.
    """
    _check_output_size(photo, workflow, settings)
    memory.reset_peak()
    times: list[StepTime] = []
    tile: dict[str, Any] = {}
    used: list[Engine] = []
    for index, step in enumerate(workflow.steps):
        started = time.perf_counter()
        tools = steps.Tools(settings, _shared(progress, index, len(workflow.steps)))
        outcome, ran_on = _run(photo, step, engine, tools)
        photo, tile = outcome.photo, outcome.tile or tile
        used += [ran_on] if step.model else []
        name = step.model.name if step.model else None
        seconds = round(time.perf_counter() - started, 4)
        times.append(
            StepTime(step=step.kind, seconds=seconds, model=name, detail=outcome.detail)
        )
        tools.progress(1.0)
    names, devices = (
        [getattr(e, kind) for e in used or [engine]] for kind in ("name", "device")
    )
    return Restored(
        photo, times, tile, _listed(names), _listed(devices), memory.peak_bytes()
    )


def _run(
    photo: Photo, step: ResolvedStep, engine: Engine, tools: steps.Tools
) -> tuple[steps.StepResult, Engine]:
    """The step's outcome and the engine that made it: on a GPU that is too small, the
    CPU's in its place.
    """
    chosen = engines.serving(engine, step.model)
    try:
        return steps.run(photo, step, chosen, tools), chosen
    except PermanentError as error:
        if (
            error.code != Code.OUT_OF_MEMORY
            or chosen.device == engines.CPU
            or not tools.settings.cpu_fallback
        ):
            raise
        fault = error.detail
    chosen = engines.serving(engines.on_cpu(tools.settings), step.model)
    outcome = steps.run(photo, step, chosen, tools)
    outcome.detail["fallback"] = {
        "from": engine.device,
        "to": chosen.device,
        "because": fault,
    }
    return outcome, chosen


def _listed(names: list[str]) -> str:
    return "+".join(dict.fromkeys(names))


def _shared(
    progress: Callable[[float], None], index: int, count: int
) -> Callable[[float], None]:
    return lambda done: progress((index + done) / count)


def _check_output_size(
    photo: Photo, workflow: ResolvedWorkflow, settings: Settings
) -> None:
    width, height = (
        int(photo.width * workflow.scale),
        int(photo.height * workflow.scale),
    )
    if width * height > settings.max_output_pixels:
        raise PermanentError(
            Code.TOO_MANY_PIXELS,
            f"{photo.width} x {photo.height} px at scale {workflow.scale:g} is {width} x {height} px out, the limit is "
            f"{settings.max_output_pixels} px; ask for a smaller scale or send a smaller photo",
        )
    in_colour = photo.pixels.shape[2] == 3 or any(
        step.kind == "colorize" for step in workflow.steps
    )
    samples = (3 if in_colour else 1) + (photo.alpha is not None)
    if (
        size := width * height * samples * photo.pixels.dtype.itemsize
    ) > MAX_RESULT_BYTES:
        raise PermanentError(
            Code.TOO_MANY_PIXELS,
            f"{width} x {height} px out are {size:,} bytes, and a store takes no file of more than "
            f"{MAX_RESULT_BYTES:,} at once; ask for a smaller scale, or send a smaller photo or one of 8 bits",
        )
