"""Real-ESRGAN's two architectures on our own convolutions (`kernels`), from weights in
ncnn format.

The arithmetic is that of the official code, in single precision: `SRVGGNetCompact` with
64 channels and `RRDBNet` with 64 and 32. Pictures are (height, width, channels), so
that what PyTorch concatenates just lies side by side.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import cycle
from typing import Protocol

import numpy as np

from gpu_worker.engines import OutOfMemory
from gpu_worker.engines.kernels import LANE, Filters, Floats, Step, run
from gpu_worker.engines.ncnn_weights import State
from gpu_worker.engines.quantise import shuffled_to_pixels
from gpu_worker.photo import Pixels
from gpu_worker.tiles import Axis, Rect, Tile, grid
from shared.models import Model

KEPT_BYTES = 1_000_000_000
"""Buffers up to this size wait for the next photo: fresh pages would cost a tenth of a
small one's time.
"""

FEATURES, GROWTH = 64, 32
LEAK = 0.2
RESIDUAL = 0.2

TAIL_SIDE_PX = 64
TAIL_OVERLAP_PX = 2
"""Four 3x3 convolutions, one at twice and three at four times the size, reach 1.25
input pixels.
"""


class KernelNetwork:
    """One call at a time: it takes every core by itself."""

    kernels = "darkroom"

    def __init__(self, model: Model, state: State, threads: int) -> None:
        self.model = model
        self._body: _Body = (Compact if model.architecture == "srvgg" else Residual)(
            state
        )
        self.bytes_per_px = self._body.bytes_per_px
        self._buffers, self._threads, self._lock = Buffers(), threads, threading.Lock()

    def upscale(self, windows: Sequence[Pixels], alone: bool) -> list[Pixels]:  # noqa: ARG002 - always is
        with self._lock:
            try:
                return [
                    self._body.upscale(window, self._buffers, self._threads)
                    for window in windows
                ]
            except MemoryError as error:
                raise OutOfMemory(str(error)) from error
            finally:
                self._buffers.trim()


class Buffers:
    """One piece of memory that pictures in work are cut from."""

    def __init__(self) -> None:
        self._floats: Floats = np.empty(0, np.float32)

    def pictures(self, height: int, width: int, *channels: int) -> list[Floats]:
        """Arrays (height, width, channels), contents undefined; earlier ones are
        invalid from now on.
        """
        sizes = [height * width * count for count in channels]
        if self._floats.size < sum(sizes):
            # the old piece goes before the new one comes
            self._floats = np.empty(0, np.float32)
            self._floats = np.empty(sum(sizes), np.float32)
        pieces = np.split(self._floats[: sum(sizes)], np.cumsum(sizes)[:-1])
        return [piece.reshape(height, width, -1) for piece in pieces]

    def trim(self) -> None:
        if self._floats.nbytes > KEPT_BYTES:
            self._floats = np.empty(0, np.float32)


class _Body(Protocol):
    bytes_per_px: int

    def upscale(self, window: Pixels, buffers: Buffers, threads: int) -> Pixels:
        """As `engines.Network.upscale` of one window. Raises `MemoryError`."""
        ...


class Compact:
    """`SRVGGNetCompact`: convolutions with one slope per channel, then one that makes
    all enlarged pixels at once.
    """

    bytes_per_px = 900

    def __init__(self, state: State) -> None:
        names = sorted({int(name.split(".")[1]) for name in state})
        arrays = [state[f"body.{i}.weight"] for i in names]
        biases = [state[f"body.{i}.bias"] for i in names[::2]]
        *hidden, last = arrays[::2]
        self._hidden = [
            Filters.of(w, b, s)
            for w, b, s in zip(hidden, biases, arrays[1::2], strict=False)
        ]
        self._scale = round((len(last) / 3) ** 0.5)
        self._last = _with_source(last, biases[-1], self._scale)

    def upscale(self, window: Pixels, buffers: Buffers, threads: int) -> Pixels:
        height, width, channels = window.shape
        source, here, there, last = buffers.pictures(
            height, width, LANE, FEATURES, FEATURES, self._last.outputs
        )
        _fill(source, window)
        steps = [Step(self._hidden[0], [source], here)]
        for filters in self._hidden[1:]:
            steps.append(Step(filters, [here], there))
            here, there = there, here
        run([*steps, Step(self._last, [here, source], last)], threads)
        return shuffled_to_pixels(last, self._scale, channels, window.dtype)


def _with_source(weights: Floats, bias: Floats, scale: int) -> Filters:
    """The last convolution, its outputs in the order of the enlarged rows, with the
    source added to each pixel.

    The official code adds the enlarged source to the result; as weights of 1 on further
    inputs that is nearly free.
    """
    outputs, inputs = weights.shape[:2]
    whole = np.zeros((outputs, inputs + LANE, 3, 3), np.float32)
    whole[:, :inputs] = weights
    for output in range(outputs):
        whole[output, inputs + output // scale**2, 1, 1] = 1
    order = np.arange(outputs).reshape(3, scale**2).T.ravel()
    return Filters.of(whole[order], bias[order])


class Residual:
    """`RRDBNet`: a trunk of dense blocks, then a tail that enlarges."""

    bytes_per_px = 1_900

    def __init__(self, state: State) -> None:
        blocks = len({name.split(".")[1] for name in state if name.startswith("body.")})
        self._first = _filters(state, "conv_first")
        self._blocks = [
            [_dense(state, f"body.{b}.rdb{r}") for r in (1, 2, 3)]
            for b in range(blocks)
        ]
        self._body = _filters(state, "conv_body")
        self._tail = [
            _filters(state, f"conv_{name}", LEAK) for name in ("up1", "up2", "hr")
        ]
        self._last = _filters(state, "conv_last")
        self._double, self._large = Buffers(), Buffers()

    def upscale(self, window: Pixels, buffers: Buffers, threads: int) -> Pixels:
        height, width, channels = window.shape
        features = self._trunk(window, buffers, threads)
        # The tail works on sixteen times the pixels but sees two of the trunk's around:
        # it runs in small exact pieces.
        pixels: Pixels = np.empty((height * 4, width * 4, channels), window.dtype)
        for tile in tail_tiles(width, height):
            rows, columns = tile.window.within(Rect(0, 0, width, height))
            piece = self._enlarged(
                np.ascontiguousarray(features[rows, columns]), threads
            )
            rows, columns = tile.core.within(tile.window, 4)
            inner = shuffled_to_pixels(piece[rows, columns], 1, channels, window.dtype)
            pixels[tile.core.within(Rect(0, 0, width, height), 4)] = inner
        return pixels

    def _trunk(self, window: Pixels, buffers: Buffers, threads: int) -> Floats:
        height, width, _ = window.shape
        source, head, dense, *ring = buffers.pictures(
            height, width, LANE, FEATURES, 4 * GROWTH, *[FEATURES] * 3
        )
        _fill(source, window)
        steps = [Step(self._first, [source], head)]
        entry, free = head, cycle(ring)
        for block in self._blocks:
            here = entry
            for i, filters in enumerate(block):
                target = next(free)
                # The third target is the entry of this block, which is then read at the
                # pixel just written only.
                outer = [(RESIDUAL, entry)] if i == 2 else []
                steps += _dense_steps(
                    filters, here, dense, target, [(RESIDUAL, here), *outer]
                )
                here = target
            entry = here
        run(
            [*steps, Step(self._body, [entry], ring[0], residuals=[(1.0, head)])],
            threads,
        )
        return ring[0]

    def _enlarged(self, features: Floats, threads: int) -> Floats:
        """(h, w, 64) -> (4h, 4w, 3 and padding)."""
        height, width, _ = features.shape
        large = (4 * height, 4 * width)
        double = self._double.pictures(2 * height, 2 * width, FEATURES)[0]
        here, there, last = self._large.pictures(
            *large, FEATURES, FEATURES, self._last.outputs
        )
        up1, up2, hr = self._tail
        run(
            [
                Step(up1, [features], double, shift=1),
                Step(up2, [double], here, shift=1),
                Step(hr, [here], there),
                Step(self._last, [there], last),
            ],
            threads,
        )
        return last


def tail_tiles(width: int, height: int) -> tuple[Tile, ...]:
    """The pieces in which the tail of an `RRDBNet` runs."""
    columns, rows = (
        Axis.fitting(length, TAIL_OVERLAP_PX, TAIL_SIDE_PX)
        for length in (width, height)
    )
    return grid(columns, rows)


def _dense(state: State, name: str) -> list[Filters]:
    return [
        _filters(state, f"{name}.conv{i}", LEAK if i < 5 else 1.0)
        for i in (1, 2, 3, 4, 5)
    ]


def _dense_steps(
    filters: list[Filters],
    here: Floats,
    dense: Floats,
    target: Floats,
    residuals: list[tuple[float, Floats]],
) -> list[Step]:
    steps = []
    for i, part in enumerate(filters[:4]):
        grown = dense[:, :, i * GROWTH : (i + 1) * GROWTH]
        steps.append(
            Step(part, [here, dense[:, :, : i * GROWTH]] if i else [here], grown)
        )
    return [*steps, Step(filters[4], [here, dense], target, residuals=residuals)]


def _filters(state: State, name: str, slope: float = 1.0) -> Filters:
    return Filters.of(state[f"{name}.weight"], state[f"{name}.bias"], slope)


def _fill(source: Floats, window: Pixels) -> None:
    """Three equal or different channels 0..1, and zeros up to a whole vector."""
    source[:, :, 3:] = 0
    np.divide(
        window,
        np.float32(np.iinfo(window.dtype).max),
        out=source[:, :, :3],
        dtype=np.float32,
    )
