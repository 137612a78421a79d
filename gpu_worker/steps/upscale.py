"""Enlarge a photo with a super-resolution network; a scale below the network's own
reduces its output.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from gpu_worker import tile_runner
from gpu_worker.engines import Engine, Network
from gpu_worker.engines.base import MixesWeights
from gpu_worker.photo import Photo, Pixels
from gpu_worker.pixels import bilinear, resample, scratch
from gpu_worker.pixels.bleed import bleed
from gpu_worker.pixels.row_chunks import bands
from gpu_worker.steps.base import StepResult, Tools, needs_another_engine
from gpu_worker.tiles import MIN_SIDE_PX
from shared.models import Model
from shared.workflows import ResolvedStep

BYTES_PER_SAMPLE = 16
"""Working memory for each sample of a row, roughly."""


def run(photo: Photo, step: ResolvedStep, engine: Engine, tools: Tools) -> StepResult:
    """Enlarge the pixels `scale` times, truncated to whole pixels; alpha is enlarged by
    the same network as a grey picture. `strength` (0..1) is the network's share over a
    plain enlargement; with less than 1 of `denoise`, the rest of the weights is that of
    the model's twin that leaves noise.
    """
    assert step.model is not None
    network = _network(step, step.model, engine)
    scale = float(step.params.get("scale", step.model.scale))
    width = max(1, int(photo.width * scale))
    height = max(1, int(photo.height * scale))
    strength = float(step.params.get("strength", 1.0))
    tile_px = int(step.params.get("tile_px", 0))
    tools = _with_tiles(tools, tile_px, network, engine)
    enlarger = _Enlarger(network, engine, (width, height), tools)
    detail = {"scale": scale, "kernels": network.kernels}
    if strength < 1:
        detail["strength"] = strength
    if step.weak:
        detail["denoise"] = float(step.params.get("denoise", 1.0))
    if photo.alpha is None:
        pixels, tile = enlarger.enlarge(photo.pixels, 0.0, 1.0)
        _mix(pixels, photo.pixels, strength)
        return StepResult(photo.resized(pixels, None), detail, tile)
    visible = bleed(photo.pixels, photo.alpha)
    pixels, tile = enlarger.enlarge(visible, 0.0, 0.5)
    _mix(pixels, visible, strength)
    grey = photo.alpha[:, :, np.newaxis]
    alpha, _ = enlarger.enlarge(grey, 0.5, 1.0, tile_runner.ignore)
    enlarged = photo.resized(pixels, alpha[:, :, 0])
    return StepResult(enlarged, detail, tile)


def _network(step: ResolvedStep, model: Model, engine: Engine) -> Network:
    if step.weak is None:
        return engine.load(model)
    if not isinstance(engine, MixesWeights):
        raise needs_another_engine(model, engine)
    return engine.load_mixed(model, step.weak, float(step.params.get("denoise", 1.0)))


def _with_tiles(tools: Tools, tile_px: int, network: Network, engine: Engine) -> Tools:
    """The same tools with the tiles that a photo asks for, as far as the worker's own
    setting and its memory allow them.
    """
    if not tile_px:
        return tools
    fitting_px = math.isqrt(max(1, engine.free_bytes() // network.bytes_per_px))
    most = max(MIN_SIDE_PX, fitting_px - 2 * network.model.overlap_px)
    if tools.settings.tile_px:
        most = min(most, tools.settings.tile_px)
    settings = tools.settings.model_copy(update={"tile_px": min(tile_px, most)})
    return replace(tools, settings=settings)


def _mix(large: Pixels, small: Pixels, strength: float) -> None:
    """Mix `strength` of `large` over `small` enlarged plainly, into `large`."""
    if strength == 1:
        return
    height, width, channels = large.shape
    row_bytes = width * channels * BYTES_PER_SAMPLE
    for band in bands(height, row_bytes):
        plain = bilinear.rows(small, (width, height), band)
        mixed = plain + np.float32(strength) * (large[band] - plain)
        large[band] = np.rint(mixed)
        scratch.drop(large[band])


class _Enlarger:
    """Enlarges the planes of one photo to `size` (width, height) [px]."""

    def __init__(
        self,
        network: Network,
        engine: Engine,
        size: tuple[int, int],
        tools: Tools,
    ) -> None:
        self._network = network
        self._engine = engine
        self._size = size
        self._tools = tools

    def enlarge(
        self,
        pixels: Pixels,
        start: float,
        end: float,
        placed: tile_runner.Placed | None = None,
    ) -> tuple[Pixels, dict[str, Any]]:
        """Enlarge `pixels`, while the step's progress goes from `start` to `end`; in place
        of the step's own, `placed` is told what is done.
        """

        def progress(done: float) -> None:
            self._tools.progress(start + (end - start) * done)

        settings = self._tools.settings
        large, tile = tile_runner.upscale(
            pixels,
            self._network,
            self._engine,
            settings,
            progress,
            self._tools.between_tiles,
            placed or self._tools.placed,
        )
        return resample.reduce(large, self._size, settings), tile
