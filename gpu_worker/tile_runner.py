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
from shared.runtime.settings import EngineSettings

Progress = Callable[[float], None]


def upscale(
    pixels: Pixels,
    network: Network,
    engine: Engine,
    settings: EngineSettings,
    progress: Progress,
) -> tuple[Pixels, dict[str, Any]]:
    """(h, w, 1 or 3) -> (h·scale, w·scale, same), and how the picture was tiled.

    `progress` gets the fraction done. Raises `PermanentError`: `out_of_memory` when
    64-pixel tiles do not fit or the scratch disk is too small, `invalid_output` when
    the network gives NaN or infinity.
    """
    height, width, _ = pixels.shape
    fitting_px = max(1, engine.free_bytes() // network.bytes_per_px)
    chosen = plan(
        (width, height),
        network.model,
        engine.lanes,
        fitting_px,
        settings.tile_px,
    )
    window_px = chosen.window[0] * chosen.window[1]
    batch_size = max(1, min(engine.batch, fitting_px // window_px))
    run = _Run(pixels, network, chosen, settings, progress)
    run.run_tiles(engine.lanes, batch_size)
    return run.canvas, run.describe()


class _Run:
    """One picture on its way through one network."""

    def __init__(
        self,
        pixels: Pixels,
        network: Network,
        chosen: Plan,
        settings: EngineSettings,
        progress: Progress,
    ) -> None:
        self._pixels = pixels
        self._network = network
        self._plan = chosen
        self._progress = progress
        height, width, channels = pixels.shape
        self._picture = Rect(0, 0, width, height)
        self._scale = network.model.scale
        shape = (height * self._scale, width * self._scale, channels)
        self.canvas = scratch.picture(shape, pixels.dtype, settings)
        self._ladder: list[dict[str, int]] = []
        self._done_px = 0
        self._lock = threading.Lock()

    def run_tiles(self, lanes: int, batch_size: int) -> None:
        """Run every tile, `batch_size` in a call, on `lanes` threads; the first error
        ends the run.
        """
        tiles = self._plan.tiles
        starts = range(0, len(tiles), batch_size)
        batches = [tiles[start : start + batch_size] for start in starts]
        threads = 1 if self._plan.alone else lanes
        with ThreadPoolExecutor(threads, "lane") as pool:
            futures = [pool.submit(self._run_batch, batch) for batch in batches]
            done, waiting = wait(futures, return_when=FIRST_EXCEPTION)
            for future in waiting:
                future.cancel()
            for future in done:
                future.result()

    def _run_batch(self, batch: Sequence[Tile]) -> None:
        try:
            self._compute(batch)
        except OutOfMemory:
            self._run_apart(batch)
        for tile in batch:
            self._finish(tile)

    def _run_apart(self, batch: Sequence[Tile]) -> None:
        """Run the tiles of a batch that did not fit, one after the other."""
        if len(batch) == 1:
            self._cut_smaller(batch[0])
            return
        for tile in batch:
            self._run_tile(tile)

    def _run_tile(self, tile: Tile) -> None:
        try:
            self._compute([tile])
        except OutOfMemory:
            self._cut_smaller(tile)

    def _cut_smaller(self, tile: Tile) -> None:
        """Go one step down the ladder with a tile that did not fit, and with no other."""
        model = self._network.model
        side = max(tile.core.width, tile.core.height)
        smaller = next_side(side)
        if smaller is None:
            raise self._out_of_memory(side)
        with self._lock:
            self._ladder.append({"failed_px": side, "then_px": smaller})
        pieces = split(tile, self._picture, smaller, model.overlap_px, model.align_px)
        for piece in pieces:
            self._run_tile(piece)

    def _out_of_memory(self, side: int) -> PermanentError:
        failed = {step["failed_px"] for step in self._ladder}
        sides = sorted(failed | {side}, reverse=True)
        detail = (
            f"tiles of {', '.join(map(str, sides))} px did not fit into the device's memory; "
            "free some, or let a worker with more memory or with DARKROOM_ENGINE=ncnn take this photo"
        )
        return PermanentError(Code.OUT_OF_MEMORY, detail)

    def _compute(self, batch: Sequence[Tile]) -> None:
        """Run the network on the windows, and paste the cores into the canvas."""
        windows = [self._pixels[tile.window.within(self._picture)] for tile in batch]
        outputs = self._network.upscale(windows, self._plan.alone)
        for tile, output in zip(batch, outputs, strict=True):
            source = tile.core.within(tile.window, self._scale)
            target = tile.core.within(self._picture, self._scale)
            self.canvas[target] = output[source]

    def _finish(self, tile: Tile) -> None:
        # The rows of a tile reach over the whole picture, also over what other lanes
        # are writing; that is not lost.
        rows, _ = tile.core.within(self._picture, self._scale)
        scratch.drop(self.canvas[rows])
        with self._lock:
            self._done_px += tile.core.width * tile.core.height
            all_px = self._picture.width * self._picture.height
            self._progress(self._done_px / all_px)

    def describe(self) -> dict[str, Any]:
        """What the record says about tiles."""
        description: dict[str, Any] = {
            "count": len(self._plan.tiles),
            "window_px": list(self._plan.window),
            "overlap_px": self._plan.overlap,
            "alone": self._plan.alone,
        }
        if self._ladder:
            description["ladder"] = self._ladder
        return description
