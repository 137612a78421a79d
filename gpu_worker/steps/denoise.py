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

BYTES_PER_SAMPLE = 16
"""Working memory for each sample of a row, roughly."""


def run(photo: Photo, step: ResolvedStep, engine: Engine, tools: Tools) -> StepResult:
    """Mix `strength` (0..1) of the network's result over the photo. Alpha has no noise
    and is left alone.
    """
    assert step.model is not None
    strength = float(step.params["strength"])
    detail = {"strength": strength}
    if strength == 0:
        return StepResult(photo, detail)
    network = engine.load(step.model)
    clean, tile = tile_runner.upscale(
        photo.pixels,
        network,
        engine,
        tools.settings,
        tools.progress,
        tools.between_tiles,
        tools.placed,
    )
    if strength < 1:
        _mix(clean, photo.pixels, strength)
    return StepResult(photo.with_(pixels=clean), detail, tile)


def _mix(clean: Pixels, noisy: Pixels, strength: float) -> None:
    """Mix `strength` of `clean` over `noisy`, into `clean`: no third picture is held."""
    height, width, channels = noisy.shape
    row_bytes = width * channels * BYTES_PER_SAMPLE
    for band in bands(height, row_bytes):
        before = noisy[band].astype(np.float32)
        change = clean[band] - before
        mixed = before + np.float32(strength) * change
        clean[band] = np.rint(mixed)
        scratch.drop(clean[band])
