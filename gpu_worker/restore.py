"""One photo through one workflow: its steps in order, timed, within the limits."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from gpu_worker import abilities, engines, gates, steps
from gpu_worker.engines import Engine
from gpu_worker.photo import Mask, Photo
from gpu_worker.pixels import memory
from gpu_worker.tile_runner import Placed, TilesTooLarge, ignore
from shared.errors import Code, PermanentError
from shared.offers import together
from shared.runtime.settings import EngineSettings, PhotoLimitSettings, Settings
from shared.uploads.documents import Plan, Skipped, StepTime
from shared.workflows import ResolvedStep, ResolvedWorkflow

MAX_RESULT_BYTES = 5_000_000_000
"""The most that S3 takes in one PUT."""

LEAST_SHARE = {1: 0.4, 2: 0.7}
"""How small a PNG of an enlarged photo is at best, as a share of its pixels, by the
bytes of a sample: the lower one of two is noise.
"""

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Restored:
    """A restored photo and how it was made.

    `tile`: how the last tiled step was cut. `engine` and `device`: those that ran
    networks, joined by `+`. `peak_memory_bytes`: largest resident memory meanwhile;
    `peak_device_memory_bytes`: most memory in use on a GPU. `applied`: the workflow
    without the steps that were skipped or only could have finished; None: none was.
    `mask`: where a repair may have
    changed pixels; None: there was none.
    """

    photo: Photo
    steps: list[StepTime]
    tile: dict[str, Any]
    engine: str
    device: str
    peak_memory_bytes: int
    peak_device_memory_bytes: int | None = None
    applied: ResolvedWorkflow | None = None
    mask: Mask | None = None


@dataclass(frozen=True)
class Spent:
    """What a photo took that failed on its way: where, how it was cut, as far as that
    is known, and how much memory at most.
    """

    engine: str
    device: str
    tile: dict[str, Any] | None
    peak_memory_bytes: int
    peak_device_memory_bytes: int | None


def spent_on(engine: Engine, error: Exception) -> Spent:
    """What the photo took that just failed on `engine` by `error`."""
    on_device = None
    if isinstance(engine, engines.MeasuresMemory):
        on_device = engine.peak_bytes()
    return Spent(
        engine=engine.name,
        device=engine.device,
        tile=error.tile if isinstance(error, TilesTooLarge) else None,
        peak_memory_bytes=memory.peak_bytes(),
        peak_device_memory_bytes=on_device,
    )


def seed_of(task_id: str) -> int:
    """The seed of a task: what must look random is the same every time."""
    return zlib.crc32(task_id.encode())


def restore(
    photo: Photo,
    workflow: ResolvedWorkflow,
    engine: Engine,
    settings: Settings,
    progress: Progress,
    plan: Plan | None = None,
    between_tiles: Callable[[], None] = lambda: None,
    seed: int = 0,
    painted: Mask | None = None,
    placed: Placed = ignore,
) -> Restored:
    """Run the steps of `workflow` on `photo` that `plan` does not skip, and for which
    this worker lacks nothing if they are optional. Without a plan no gate skips a step.

    `progress` gets the fraction done after each tile: silence means stuck.
    `between_tiles` may use the engine meanwhile; `seed` is the task's own; `painted`
    (height, width) is the mask that somebody sent; `placed` is told of each part of a
    step that is done. Raises
    `PermanentError(too_many_pixels)` before any work, and whatever a step raises.
    """
    decided = _decided(workflow, plan or gates.open_plan(workflow), engine, settings)
    running = tuple(step for step, skipped in decided if skipped is None)
    applied = replace(workflow, steps=running)
    _check_output_size(photo, applied, settings)
    memory.reset_peak()
    device_peak = _DevicePeak(engine)
    let_pass = device_peak.noted_before(between_tiles)
    times: list[StepTime] = []
    tile: dict[str, Any] = {}
    used: list[Engine] = []
    mask: Mask | None = None
    neutral: list[ResolvedStep] = []
    for index, (step, skipped) in enumerate(decided):
        if skipped is not None:
            times.append(StepTime(step=step.kind, seconds=0.0, skipped=skipped))
            continue
        started = time.perf_counter()
        step_progress = _part_of(progress, index, len(decided))
        tools = steps.Tools(settings, step_progress, let_pass, seed, painted, placed)
        result, ran_on = _run(photo, step, engine, tools)
        if step.kind == "finish" and result.photo is photo:
            neutral.append(step)
        photo = result.photo
        tile = result.tile or tile
        mask = mask if result.mask is None else result.mask
        if step.model:
            used.append(ran_on)
        times.append(_timed(step, started, result))
        step_progress(1.0)
    engine_names = [each.name for each in used or [engine]]
    devices = [each.device for each in used or [engine]]
    return Restored(
        photo=photo,
        steps=times,
        tile=tile,
        mask=mask,
        engine=_joined(engine_names),
        device=_joined(devices),
        peak_memory_bytes=memory.peak_bytes(),
        peak_device_memory_bytes=device_peak.bytes(),
        applied=replace(
            workflow, steps=tuple(step for step in running if step not in neutral)
        ),
    )


class _DevicePeak:
    """The most device memory in use while one photo is restored.

    Another photo may pass it between two tiles, and measures anew: so the peak is noted
    before.
    """

    def __init__(self, engine: Engine) -> None:
        self._meter = engine if isinstance(engine, engines.MeasuresMemory) else None
        self._noted: int | None = None
        if self._meter is not None:
            self._meter.reset_peak()

    def noted_before(self, between_tiles: Callable[[], None]) -> Callable[[], None]:
        """`between_tiles`, but the peak until then is not lost."""

        def noting() -> None:
            self._noted = self.bytes()
            between_tiles()

        return noting

    def bytes(self) -> int | None:
        """None on the CPU."""
        now = self._meter.peak_bytes() if self._meter is not None else None
        known = [peak for peak in (self._noted, now) if peak is not None]
        return max(known, default=None)


def _decided(
    workflow: ResolvedWorkflow, plan: Plan, engine: Engine, settings: Settings
) -> list[tuple[ResolvedStep, Skipped | None]]:
    """Each step with what the plan sets, and why it is skipped, if it is."""
    decided = []
    for step, planned in zip(workflow.steps, plan.steps, strict=True):
        params = {**planned.params, **step.params}
        skipped = planned.skipped or _lacking(step, engine, settings)
        decided.append((replace(step, params=params, gated=False), skipped))
    return decided


def _lacking(
    step: ResolvedStep, engine: Engine, settings: EngineSettings
) -> Skipped | None:
    if not step.optional:
        return None
    lacks = abilities.lacks_of(step, engine, settings)
    if not lacks:
        return None
    lack = together(lacks)
    return Skipped(code="missing", because=f"{lack.because}; {lack.command}")


def _part_of(progress: Progress, index: int, count: int) -> Progress:
    """The progress of step `index` of `count`, as a part of the whole."""
    return lambda done: progress((index + done) / count)


def _timed(step: ResolvedStep, started: float, result: steps.StepResult) -> StepTime:
    seconds = time.perf_counter() - started
    return StepTime(
        step=step.kind,
        seconds=round(seconds, 4),
        model=step.model.name if step.model else None,
        detail=result.detail,
    )


def _joined(names: list[str]) -> str:
    """Each name once, in the order of their first use."""
    return "+".join(dict.fromkeys(names))


def _run(
    photo: Photo,
    step: ResolvedStep,
    engine: Engine,
    tools: steps.Tools,
) -> tuple[steps.StepResult, Engine]:
    """The step's result and the engine that made it: on a GPU that is too small, the
    CPU's engine in its place.
    """
    chosen = engines.serving(engine, step.model)
    try:
        return steps.run(photo, step, chosen, tools), chosen
    except PermanentError as error:
        if not _may_fall_back(error, chosen, tools.settings):
            raise
        fault = error.detail
    chosen = engines.serving(engines.on_cpu(tools.settings), step.model)
    result = steps.run(photo, step, chosen, tools)
    result.detail["fallback"] = {
        "from": engine.device,
        "to": chosen.device,
        "because": fault,
    }
    return result, chosen


def _may_fall_back(
    error: PermanentError, engine: Engine, settings: EngineSettings
) -> bool:
    if error.code != Code.OUT_OF_MEMORY or engine.device == engines.CPU:
        return False
    return settings.cpu_fallback


def _check_output_size(
    photo: Photo,
    workflow: ResolvedWorkflow,
    settings: PhotoLimitSettings,
) -> None:
    """Raises `PermanentError(too_many_pixels)` for a result that is larger than the
    limit, or than the store takes.
    """
    width = int(photo.width * workflow.scale)
    height = int(photo.height * workflow.scale)
    if width * height > settings.max_output_pixels:
        detail = (
            f"{photo.width} x {photo.height} px at scale {workflow.scale:g} is {width} x {height} px out, the limit is "
            f"{settings.max_output_pixels} px; ask for a smaller scale or send a smaller photo"
        )
        raise PermanentError(Code.TOO_MANY_PIXELS, detail)
    samples = width * height * _channels_after(photo, workflow)
    sample_bytes = photo.pixels.dtype.itemsize
    size = int(samples * sample_bytes * LEAST_SHARE[sample_bytes])
    check_result_bytes(width, height, size, "at least ")


def check_result_bytes(width: int, height: int, size: int, about: str = "") -> None:
    """Raise `PermanentError(too_many_pixels)` for a PNG of more bytes than a store takes."""
    if size > MAX_RESULT_BYTES:
        detail = (
            f"{width} x {height} px out are a PNG of {about}{size:,} bytes, and a store takes no file of more than "
            f"{MAX_RESULT_BYTES:,} at once; ask for a smaller scale, or send a smaller photo or one of 8 bits"
        )
        raise PermanentError(Code.TOO_MANY_PIXELS, detail)


def _channels_after(photo: Photo, workflow: ResolvedWorkflow) -> int:
    """Channels of the result, alpha among them."""
    is_colorized = any(step.kind == "colorize" for step in workflow.steps)
    colours = 3 if is_colorized else int(photo.pixels.shape[2])
    return colours if photo.alpha is None else colours + 1
