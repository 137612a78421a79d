"""Runs a network over a picture, tile by tile, into a canvas that need not fit in
memory.

A tile that does not fit on the device is cut smaller and tried again; no other tile is
touched, and nothing is pasted but what was computed for its own place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any

from gpu_worker.engines import Engine, Network, OutOfMemory
from gpu_worker.photo import Pixels
from gpu_worker.pixels import scratch
from gpu_worker.tiles import Plan, Rect, Tile, next_side, plan, split
from shared.errors import Code, PermanentError
from shared.runtime.settings import Settings

Progress = Callable[[float], None]


def upscale(
    pixels: Pixels,
    network: Network,
    engine: Engine,
    settings: Settings,
    progress: Progress,
) -> tuple[Pixels, dict[str, Any]]:
    """(h, w, 1 or 3) -> (h·scale, w·scale, same), and how it was tiled. `progress` gets
    the fraction done.

    Raises `PermanentError`: `out_of_memory` when 64-pixel tiles do not fit or the
    scratch disk is too small, `invalid_output` when the network gives NaN or infinity.
    """
    height, width, _ = pixels.shape
    fits = max(1, engine.free_bytes() // network.bytes_per_px)
    chosen = plan((width, height), network.model, engine.lanes, fits, settings.tile_px)
    batch = max(1, min(engine.batch, fits // (chosen.window[0] * chosen.window[1])))
    run = _Run(pixels, network, chosen, settings, progress)
    run.all(engine.lanes, batch)
    return run.canvas, run.describe()


class _Run:
    def __init__(
        self,
        pixels: Pixels,
        network: Network,
        chosen: Plan,
        settings: Settings,
        progress: Progress,
    ) -> None:
        self._pixels, self._network, self._plan, self._progress = (
            pixels,
            network,
            chosen,
            progress,
        )
        height, width, channels = pixels.shape
        self._picture = Rect(0, 0, width, height)
        self._scale = network.model.scale
        shape = (height * self._scale, width * self._scale, channels)
        self.canvas: Any = scratch.allocate(shape, pixels.dtype, settings)
        self._ladder: list[dict[str, int]] = []
        self._done_px = 0
        self._lock = threading.Lock()

    def all(self, lanes: int, batch: int) -> None:
        """Every tile, `batch` at a time, on `lanes` threads; the first error ends the
        run.
        """
        tiles = self._plan.tiles
        jobs = [tiles[i : i + batch] for i in range(0, len(tiles), batch)]
        with ThreadPoolExecutor(1 if self._plan.alone else lanes, "lane") as pool:
            futures = [pool.submit(self._job, job) for job in jobs]
            done, waiting = wait(futures, return_when=FIRST_EXCEPTION)
            for future in waiting:
                future.cancel()
            for future in done:
                future.result()

    def _job(self, job: Sequence[Tile]) -> None:
        try:
            self._compute(job)
        except OutOfMemory:
            for tile in job:
                self._smaller(tile) if len(job) == 1 else self._one(tile)
        for tile in job:
            self._finish(tile)

    def _one(self, tile: Tile) -> None:
        try:
            self._compute([tile])
        except OutOfMemory:
            self._smaller(tile)

    def _smaller(self, tile: Tile) -> None:
        """One step down the ladder for a tile that did not fit, and for no other."""
        side, model = max(tile.core.width, tile.core.height), self._network.model
        smaller = next_side(side)
        if smaller is None:
            raise PermanentError(Code.OUT_OF_MEMORY, self._hint(side))
        with self._lock:
            self._ladder.append({"failed_px": side, "then_px": smaller})
        for piece in split(
            tile, self._picture, smaller, model.overlap_px, model.align_px
        ):
            self._one(piece)

    def _hint(self, side: int) -> str:
        tried = sorted(
            {step["failed_px"] for step in self._ladder} | {side}, reverse=True
        )
        return (
            f"tiles of {', '.join(map(str, tried))} px did not fit into the device's memory; "
            "free some, or let a worker with more memory or with DARKROOM_ENGINE=ncnn take this photo"
        )

    def _compute(self, job: Sequence[Tile]) -> None:
        windows = [self._pixels[tile.window.within(self._picture)] for tile in job]
        for tile, output in zip(
            job, self._network.upscale(windows, self._plan.alone), strict=True
        ):
            inner = output[tile.core.within(tile.window, self._scale)]
            self.canvas[tile.core.within(self._picture, self._scale)] = inner

    def _finish(self, tile: Tile) -> None:
        # The rows of a tile reach over the whole picture, also over what other lanes
        # are writing; that is not lost.
        scratch.drop(
            self.canvas[tile.core.y0 * self._scale : tile.core.y1 * self._scale]
        )
        with self._lock:
            self._done_px += tile.core.width * tile.core.height
            self._progress(self._done_px / (self._picture.width * self._picture.height))

    def describe(self) -> dict[str, Any]:
        """What the record says about tiles."""
        seen: dict[str, Any] = {
            "count": len(self._plan.tiles),
            "window_px": list(self._plan.window),
        }
        seen |= {"overlap_px": self._plan.overlap, "alone": self._plan.alone}
        return seen | ({"ladder": self._ladder} if self._ladder else {})
