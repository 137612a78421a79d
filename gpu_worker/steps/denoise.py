"""Remove noise with a network that keeps the size of the photo."""

from __future__ import annotations

import numpy as np

from gpu_worker import tile_runner
from gpu_worker.engines import Engine
from gpu_worker.photo import Photo, Pixels
from gpu_worker.pixels import scratch
from gpu_worker.pixels.row_chunks import bands
from gpu_worker.steps.base import StepResult, Tools
from shared.workflows import ResolvedStep


def run(photo: Photo, step: ResolvedStep, engine: Engine, tools: Tools) -> StepResult:
    """`strength` 0..1 of the network's result over the photo. Alpha is left alone: it
    has no noise.
    """
    assert step.model is not None
    strength = float(step.params["strength"])
    detail = {"strength": strength}
    if strength == 0:
        return StepResult(photo, detail)
    clean, tile = tile_runner.upscale(
        photo.pixels, engine.load(step.model), engine, tools.settings, tools.progress
    )
    if strength < 1:
        _mix(clean, photo.pixels, strength)
    return StepResult(photo.with_(pixels=clean), detail, tile)


def _mix(clean: Pixels, noisy: Pixels, strength: float) -> None:
    """`strength` of `clean` over `noisy`, into `clean`."""
    height, width, channels = noisy.shape
    for band in bands(height, width * channels * 16):
        before = noisy[band].astype(np.float32)
        clean[band] = np.rint(before + np.float32(strength) * (clean[band] - before))
        scratch.drop(clean[band])
