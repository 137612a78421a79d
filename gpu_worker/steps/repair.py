"""Repair scratches, dust, creases and tears: the damage is found by its form, or drawn by
a person, and what was under it is filled in from around. No network, no weights.

No pixel outside the mask is touched.
"""

from __future__ import annotations

from typing import Any

from gpu_worker.damage import detection, inpainting
from gpu_worker.damage.strokes import drawn
from gpu_worker.engines import Engine
from gpu_worker.photo import Mask, Photo
from gpu_worker.steps.base import StepResult, Tools
from shared.workflows import ResolvedStep

LOOKING = 0.5
"""The share of the step's progress that finding the damage takes."""


def run(photo: Photo, step: ResolvedStep, engine: Engine, tools: Tools) -> StepResult:  # noqa: ARG001 - as every step
    """Fill what the strokes of `mask` cover, or, without any, the damage that is found
    with `sensitivity` (0..1). Alpha stays as it is.

    Raises `PermanentError(bad_parameter)` for strokes that cannot be drawn.
    """
    strokes = str(step.params.get("mask", ""))
    if strokes:
        mask = drawn(strokes, photo.width, photo.height)
        detail: dict[str, Any] = {"mask": "given"}
    else:
        mask, detail = _found(photo, float(step.params["sensitivity"]), tools)
    share = float(mask.mean())
    detail["mask_share"] = round(share, 6)
    if share == 0:
        return StepResult(photo, detail, mask=mask)
    pixels = inpainting.repaired(
        photo.pixels,
        mask,
        inpainting.SparseInpainter(),
        tools.settings,
        lambda done: tools.progress(LOOKING + (1 - LOOKING) * done),
    )
    repaired = photo.with_(pixels=pixels)
    return StepResult(repaired, detail, mask=mask)


def _found(
    photo: Photo, sensitivity: float, tools: Tools
) -> tuple[Mask, dict[str, Any]]:
    damage = detection.find(
        photo.pixels,
        sensitivity,
        tools.settings,
        lambda done: tools.progress(LOOKING * done),
    )
    detail = {
        "mask": "found",
        "sensitivity": sensitivity,
        "lines": damage.lines,
        "specks": damage.specks,
    }
    return damage.mask, detail
