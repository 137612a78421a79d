"""Enlarge a photo with a super-resolution network; below the model's own scale, reduce
its output.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpu_worker import tile_runner
from gpu_worker.engines import Engine
from gpu_worker.photo import Photo, Pixels
from gpu_worker.pixels import resample
from gpu_worker.pixels.bleed import bleed
from gpu_worker.steps.base import StepResult, Tools
from shared.workflows import ResolvedStep


def run(photo: Photo, step: ResolvedStep, engine: Engine, tools: Tools) -> StepResult:
    """Pixels, and alpha by the same model as a grey picture, `scale` times larger
    (truncated to whole pixels).
    """
    assert step.model is not None
    network = engine.load(step.model)
    scale = float(step.params.get("scale", step.model.scale))
    size = max(1, int(photo.width * scale)), max(1, int(photo.height * scale))
    share = 1.0 if photo.alpha is None else 0.5

    def enlarged(pixels: Pixels, start: float) -> tuple[Pixels, dict[str, Any]]:
        big, tile = tile_runner.upscale(
            pixels,
            network,
            engine,
            tools.settings,
            lambda done: tools.progress(start + share * done),
        )
        return resample.reduce(big, size, tools.settings), tile

    detail = {"scale": scale, "kernels": network.kernels}
    if photo.alpha is None:
        pixels, tile = enlarged(photo.pixels, 0.0)
        return StepResult(photo.with_(pixels=pixels), detail, tile)
    pixels, tile = enlarged(bleed(photo.pixels, photo.alpha), 0.0)
    alpha, _ = enlarged(photo.alpha[:, :, np.newaxis], share)
    return StepResult(photo.with_(pixels=pixels, alpha=alpha[:, :, 0]), detail, tile)
