"""Repair scratches, dust, creases and tears: the damage is found by its form, and what
was under it is filled in from around. No network, no weights.

No pixel outside the mask is touched.
"""

from __future__ import annotations

from typing import Any

from gpu_worker.damage import detection, inpainting
from gpu_worker.engines import Engine
from gpu_worker.photo import Photo
from gpu_worker.steps.base import StepResult, Tools
from shared.workflows import ResolvedStep

LOOKING = 0.5
"""The share of the step's progress that finding the damage takes."""


def run(photo: Photo, step: ResolvedStep, engine: Engine, tools: Tools) -> StepResult:  # noqa: ARG001 - as every step
    """Find the damage with `sensitivity` (0..1) and fill it; alpha stays as it is."""
    sensitivity = float(step.params["sensitivity"])
    damage = detection.find(
        photo.pixels,
        sensitivity,
        tools.settings,
        lambda done: tools.progress(LOOKING * done),
    )
    share = float(damage.mask.mean())
    detail: dict[str, Any] = {
        "sensitivity": sensitivity,
        "lines": damage.lines,
        "specks": damage.specks,
        "mask_share": round(share, 6),
    }
    if share == 0:
        return StepResult(photo, detail, mask=damage.mask)
    pixels = inpainting.repaired(
        photo.pixels,
        damage.mask,
        inpainting.SparseInpainter(),
        tools.settings,
        lambda done: tools.progress(LOOKING + (1 - LOOKING) * done),
    )
    repaired = photo.with_(pixels=pixels)
    return StepResult(repaired, detail, mask=damage.mask)
