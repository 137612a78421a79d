"""Repair scratches, dust, creases and tears: the damage is found by its form, or drawn by
a person, and what was under it is filled in from around. Without a model of the step no
network and no weights are needed.

No pixel outside the mask is touched.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from gpu_worker.damage import detection, inpainting
from gpu_worker.damage.strokes import drawn
from gpu_worker.engines import Engine
from gpu_worker.engines.base import FillsHoles, HoleFiller
from gpu_worker.photo import Mask, Photo, Pixels
from gpu_worker.steps.base import StepResult, Tools, needs_another_engine
from shared.errors import Code, PermanentError
from shared.uploads import masks
from shared.workflows import ResolvedStep

LOOKING = 0.5
"""The share of the step's progress that finding the damage takes."""


def run(photo: Photo, step: ResolvedStep, engine: Engine, tools: Tools) -> StepResult:
    """Fill what the picture or the strokes of `mask` cover, or, without it, the damage
    that is found with `sensitivity` (0..1): by the step's model, or, without one, by
    waves. Alpha stays as it is.

    Raises `PermanentError(bad_parameter)` for strokes that cannot be drawn, and what
    the model's network raises.
    """
    given = str(step.params.get("mask", ""))
    if given:
        mask = _given(given, photo, tools)
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
        _inpainter(step, engine),
        tools.settings,
        lambda done: tools.progress(LOOKING + (1 - LOOKING) * done),
    )
    repaired = photo.with_(pixels=pixels)
    return StepResult(repaired, detail, mask=mask)


class NetworkInpainter:
    """A network as an `Inpainter` of photos that may be grey, or of 16 bits: in the
    holes these have 8.
    """

    def __init__(self, network: HoleFiller) -> None:
        self._network = network

    def fill(self, window: Pixels, mask: Mask) -> Pixels:
        """As `Inpainter.fill`."""
        is_deep = window.dtype == np.uint16
        shallow = (window >> 8 if is_deep else window).astype(np.uint8)
        channels = window.shape[2]
        filled = self._network.fill(np.repeat(shallow, 3 // channels, 2), mask)
        if channels == 1:
            filled = np.rint(filled.mean(2, keepdims=True)).astype(np.uint8)
        if not is_deep:
            return filled
        return cast(Pixels, filled.astype(np.uint16) * np.uint16(257))


def _inpainter(step: ResolvedStep, engine: Engine) -> inpainting.Inpainter:
    if step.model is None:
        return inpainting.SparseInpainter()
    if not isinstance(engine, FillsHoles):
        raise needs_another_engine(step.model, engine)
    return NetworkInpainter(engine.load_hole_filler(step.model))


def _given(mask: str, photo: Photo, tools: Tools) -> Mask:
    if not masks.is_picture(mask):
        return drawn(mask, photo.width, photo.height)
    if tools.mask is None:
        detail = "the mask is named by a checksum, and no picture came with it; name it by its ticket"
        raise PermanentError(Code.BAD_PARAMETER, detail)
    return tools.mask


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
