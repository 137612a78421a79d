"""Runs a network over a picture, tile by tile, into a canvas that need not fit in
memory.

A tile that does not fit on the device is cut smaller and tried again; no other tile is
touched, and nothing is pasted but what was computed for its own place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Any

from structlog.contextvars import get_contextvars

from gpu_worker.engines import CPU, Engine, Network, OutOfMemory
from gpu_worker.photo import Pixels
from gpu_worker.pixels import scratch
from gpu_worker.tiles import Plan, Rect, Tile, next_side, plan, split
from shared.errors import Code, PermanentError
from shared.runtime.settings import EngineSettings
from shared.runtime.telemetry import logger

Progress = Callable[[float], None]
Placed = Callable[[Pixels, slice, slice], None]
"""Is told of a canvas, and of the rows and columns of it that were just done; it may
look at them, in any thread, and change nothing.
"""


def ignore(_canvas: Pixels, _rows: slice, _columns: slice) -> None:
    """Look at nothing."""


class TilesTooLarge(PermanentError):
    """Not even the smallest tile fits into the device's memory. `tile`: what was tried,
    as a record says it.
    """

    def __init__(self, detail: str, tile: dict[str, Any]) -> None:
        super().__init__(Code.OUT_OF_MEMORY, detail)
        self.tile = tile


def upscale(
    pixels: Pixels,
    network: Network,
    engine: Engine,
    settings: EngineSettings,
    progress: Progress,
    between_tiles: Callable[[], None] = lambda: None,
    placed: Placed = ignore,
) -> tuple[Pixels, dict[str, Any]]:
    """(h, w, 1 or 3) -> (h·scale, w·scale, same), and how the picture was tiled.

    `progress` gets the fraction done, and `placed` each part that is. `between_tiles` is
    called before each tile but the first, where one runs after the other. Raises `PermanentError`: `out_of_memory` when
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
    # On the CPU every core computes; a GPU would wait while its results are pasted.
    pastes_beside = engine.device != CPU
    run = _Run(
        pixels,
        network,
        chosen,
        settings,
        progress,
        between_tiles,
        placed,
        pastes_beside,
    )
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
        between_tiles: Callable[[], None],
        placed: Placed,
        pastes_beside: bool,
    ) -> None:
        self._pixels = pixels
        self._network = network
        self._plan = chosen
        self._progress = progress
        self._between_tiles = between_tiles
        self._placed = placed
        height, width, channels = pixels.shape
        self._picture = Rect(0, 0, width, height)
        self._scale = network.model.scale
        shape = (height * self._scale, width * self._scale, channels)
        self.canvas = scratch.picture(shape, pixels.dtype, settings)
        self._ladder: list[dict[str, int]] = []
        # Lanes may be threads of their own, which do not know whose photo it is.
        self._about = get_contextvars()
        self._done_px = 0
        self._lock = threading.Lock()
        self._pastes_beside = pastes_beside
        self._pasting = ThreadPoolExecutor(1, "paste")
        self._last_paste: Future[None] | None = None
        self._handing_over = threading.Lock()

    def run_tiles(self, lanes: int, batch_size: int) -> None:
        """Run every tile, `batch_size` in a call, on `lanes` threads, of which a single
        one is the caller's; the first error ends the run.
        """
        tiles = self._plan.tiles
        starts = range(0, len(tiles), batch_size)
        batches = [tiles[start : start + batch_size] for start in starts]
        threads = 1 if self._plan.alone else lanes
        # Nothing is computed beside the paste of a single batch. To start a thread
        # keeps the device waiting.
        self._pastes_beside = self._pastes_beside and len(batches) > 1
        with self._pasting:
            if threads == 1:
                self._run_in_turn(batches)
            else:
                self._run_beside(batches, threads)
            self._wait_for_paste()

    def _run_in_turn(self, batches: Sequence[Sequence[Tile]]) -> None:
        for number, batch in enumerate(batches):
            if number > 0:
                self._between_tiles()
            self._run_batch(batch)

    def _run_beside(self, batches: Sequence[Sequence[Tile]], threads: int) -> None:
        with ThreadPoolExecutor(threads, "lane") as pool:
            futures = [pool.submit(self._run_batch, batch) for batch in batches]
            done, waiting = wait(futures, return_when=FIRST_EXCEPTION)
            for future in waiting:
                future.cancel()
            for future in done:
                future.result()

    def _run_batch(self, batch: Sequence[Tile]) -> None:
        try:
            outputs = self._compute(batch)
        except OutOfMemory:
            self._run_apart(batch)
            self._report(batch)
            return
        if self._pastes_beside:
            self._hand_over(batch, outputs)
        else:
            self._place(batch, outputs)
        self._report(batch)

    def _hand_over(self, batch: Sequence[Tile], outputs: Sequence[Pixels]) -> None:
        with self._handing_over:
            self._wait_for_paste()  # memory: one batch of results waits, no more
            self._last_paste = self._pasting.submit(self._place, batch, outputs)

    def _wait_for_paste(self) -> None:
        """Raises what went wrong in it."""
        if self._last_paste is not None:
            self._last_paste.result()

    def _place(self, tiles: Sequence[Tile], outputs: Sequence[Pixels]) -> None:
        """Copy the cores into the canvas, and drop its rows from memory."""
        for tile, output in zip(tiles, outputs, strict=True):
            source = tile.core.within(tile.window, self._scale)
            rows, columns = tile.core.within(self._picture, self._scale)
            self.canvas[rows, columns] = output[source]
            # The rows of a tile reach over the whole picture, also over what other
            # lanes are writing; that is not lost.
            scratch.drop(self.canvas[rows])
            self._placed(self.canvas, rows, columns)

    def _run_apart(self, batch: Sequence[Tile]) -> None:
        """Run the tiles of a batch that did not fit, one after the other."""
        if len(batch) == 1:
            self._cut_smaller(batch[0])
            return
        for tile in batch:
            self._run_tile(tile)

    def _run_tile(self, tile: Tile) -> None:
        try:
            outputs = self._compute([tile])
        except OutOfMemory:
            self._cut_smaller(tile)
        else:
            self._place([tile], outputs)

    def _cut_smaller(self, tile: Tile) -> None:
        """Go one step down the ladder with a tile that did not fit, and with no other."""
        model = self._network.model
        side = max(tile.core.width, tile.core.height)
        smaller = next_side(side)
        if smaller is None:
            raise self._out_of_memory(side)
        with self._lock:
            self._ladder.append({"failed_px": side, "then_px": smaller})
        ids = self._about
        logger().warning(
            "tile.smaller", model=model.name, failed_px=side, then_px=smaller, **ids
        )
        pieces = split(tile, self._picture, smaller, model.overlap_px, model.align_px)
        for piece in pieces:
            self._run_tile(piece)

    def _out_of_memory(self, side: int) -> TilesTooLarge:
        failed = {step["failed_px"] for step in self._ladder}
        sides = sorted(failed | {side}, reverse=True)
        detail = (
            f"tiles of {', '.join(map(str, sides))} px did not fit into the device's memory; "
            "free some, or let a worker with more memory or with DARKROOM_ENGINE=ncnn take this photo"
        )
        return TilesTooLarge(detail, self.describe())

    def _compute(self, batch: Sequence[Tile]) -> list[Pixels]:
        """The network's output for each window."""
        windows = [self._pixels[tile.window.within(self._picture)] for tile in batch]
        return self._network.upscale(windows, self._plan.alone)

    def _report(self, batch: Sequence[Tile]) -> None:
        """Always in the thread that computes: another photo may pass meanwhile."""
        for tile in batch:
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
