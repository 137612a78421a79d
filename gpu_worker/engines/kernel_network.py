"""Real-ESRGAN's two architectures on our own convolutions (`kernels`), from weights in
ncnn format.

The arithmetic is that of the official code, in single precision: `SRVGGNetCompact` with
64 channels and `RRDBNet` with 64 and 32. Pictures are (height, width, channels), so
that what PyTorch concatenates just lies side by side.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle
from typing import Protocol

import numpy as np

from gpu_worker.engines.base import OutOfMemory
from gpu_worker.engines.kernels import (
    Filters,
    Floats,
    Kernels,
    Spent,
    Step,
    aligned,
    run,
    together,
)
from gpu_worker.engines.ncnn_weights import State
from gpu_worker.engines.quantise import shuffled_to_pixels
from gpu_worker.photo import Pixels, top_level
from gpu_worker.tiles import Axis, Rect, Tile, grid
from shared.models import Model

KEPT_BYTES = 1_000_000_000
"""Buffers up to this size wait for the next photo: fresh pages would cost a tenth of a
small one's time.
"""

COLOURS = 3
FEATURES, GROWTH = 64, 32
LEAK = 0.2
RESIDUAL = 0.2

TAIL_SIDE_PX = 64
TAIL_OVERLAP_PX = 2
"""Four 3x3 convolutions, one at twice and three at four times the size, reach 1.25
input pixels.
"""


class KernelNetwork:
    """A network on our own convolutions. It takes every core by itself, so one call
    runs at a time.

    `spent`: where the time of its convolutions went so far.
    """

    def __init__(
        self, model: Model, state: State, threads: int, kernels: Kernels
    ) -> None:
        self.model = model
        self.kernels = f"darkroom-{kernels.name}"
        self._body: _Body
        if model.architecture == "srvgg":
            self._body = Compact(state, kernels)
        else:
            self._body = Residual(state, kernels)
        self.bytes_per_px = self._body.bytes_per_px
        self.spent = Spent()
        self._buffers = Buffers()
        self.threads = threads
        self._lock = threading.Lock()

    def upscale(self, windows: Sequence[Pixels], alone: bool) -> list[Pixels]:  # noqa: ARG002 - always is
        with self._lock:
            try:
                return [self._upscaled(window) for window in windows]
            except MemoryError as error:
                raise OutOfMemory(str(error)) from error
            finally:
                self._buffers.trim()

    def _upscaled(self, window: Pixels) -> Pixels:
        return self._body.upscale(window, self._buffers, self._run)

    def _run(self, steps: Sequence[Step]) -> None:
        run(steps, self.threads, self.spent)


class Buffers:
    """One piece of memory that pictures in work are cut from."""

    def __init__(self) -> None:
        self._floats: Floats = np.empty(0, np.float32)

    def pictures(
        self, height: int, width: int, channels: Sequence[int]
    ) -> list[Floats]:
        """An array (height, width, count) for each count in `channels`, its contents
        undefined; the pictures of earlier calls are invalid from now on.
        """
        sizes = [height * width * count for count in channels]
        needed = sum(sizes)
        if self._floats.size < needed:
            # The old piece goes before the new one comes.
            self._floats = np.empty(0, np.float32)
            self._floats = aligned(needed)
        ends = np.cumsum(sizes)
        pieces = np.split(self._floats[:needed], ends[:-1])
        return [piece.reshape(height, width, -1) for piece in pieces]

    def trim(self) -> None:
        """Release the memory when it is too much to wait for the next photo."""
        if self._floats.nbytes > KEPT_BYTES:
            self._floats = np.empty(0, np.float32)


Run = Callable[[Sequence[Step]], None]
"""Does the steps in order. Raises `MemoryError`."""


class _Body(Protocol):
    bytes_per_px: int

    def upscale(self, window: Pixels, buffers: Buffers, run: Run) -> Pixels:
        """As `engines.Network.upscale` of one window. Raises `MemoryError`."""
        ...


class Compact:
    """`SRVGGNetCompact`: convolutions with one slope per channel, then one that makes
    all enlarged pixels at once.
    """

    bytes_per_px = 900

    def __init__(self, state: State, kernels: Kernels) -> None:
        self._lane = kernels.lane
        numbers = {int(name.split(".")[1]) for name in state}
        # Convolutions and the slopes between them lie in turn.
        layers = sorted(numbers)
        convolutions = layers[::2]
        slopes = layers[1::2]
        hidden = []
        for layer, slope in zip(convolutions[:-1], slopes, strict=True):
            filters = Filters.of(
                kernels,
                state[f"body.{layer}.weight"],
                state[f"body.{layer}.bias"],
                state[f"body.{slope}.weight"],
            )
            hidden.append(filters)
        self._hidden = together(hidden)
        last = convolutions[-1]
        weights = state[f"body.{last}.weight"]
        bias = state[f"body.{last}.bias"]
        self._scale = round((len(weights) / 3) ** 0.5)
        self._last = _with_source(kernels, weights, bias, self._scale)

    def upscale(self, window: Pixels, buffers: Buffers, run: Run) -> Pixels:
        height, width, channels = window.shape
        source, here, there, last = buffers.pictures(
            height,
            width,
            [self._lane, FEATURES, FEATURES, self._last.outputs],
        )
        _fill(source, window)
        first, *others = self._hidden
        steps = [Step(first, [source], here)]
        for filters in others:
            steps.append(Step(filters, [here], there))
            here, there = there, here
        steps.append(Step(self._last, [here, source], last))
        run(steps)
        return shuffled_to_pixels(last, self._scale, channels, window.dtype)


def _with_source(
    kernels: Kernels, weights: Floats, bias: Floats, scale: int
) -> Filters:
    """The last convolution, its outputs in the order of the enlarged rows, with the
    source added to each pixel.

    The official code adds the enlarged source to the result; as weights of 1 on further
    inputs that is nearly free.
    """
    outputs, inputs = weights.shape[:2]
    places = scale**2
    whole = np.zeros((outputs, inputs + COLOURS, 3, 3), np.float32)
    whole[:, :inputs] = weights
    for output in range(outputs):
        colour = output // places
        whole[output, inputs + colour, 1, 1] = 1
    # From colour by colour to place by place.
    numbers = np.arange(outputs).reshape(COLOURS, places)
    order = numbers.T.ravel()
    return Filters.of(kernels, whole[order], bias[order])


class Residual:
    """`RRDBNet`: a trunk of dense blocks, then a tail that enlarges."""

    bytes_per_px = 1_900

    def __init__(self, state: State, kernels: Kernels) -> None:
        def filters(name: str, slope: float = 1.0) -> Filters:
            weights = state[f"{name}.weight"]
            bias = state[f"{name}.bias"]
            return Filters.of(kernels, weights, bias, slope)

        self._lane = kernels.lane
        self._first = filters("conv_first")
        self._blocks = [
            [_dense(filters, f"body.{block}.rdb{i}") for i in (1, 2, 3)]
            for block in range(_count_blocks(state))
        ]
        self._body = filters("conv_body")
        self._up1 = filters("conv_up1", LEAK)
        self._up2 = filters("conv_up2", LEAK)
        self._hr = filters("conv_hr", LEAK)
        self._last = filters("conv_last")
        self._double = Buffers()
        self._large = Buffers()

    def upscale(self, window: Pixels, buffers: Buffers, run: Run) -> Pixels:
        height, width, channels = window.shape
        features = self._trunk(window, buffers, run)
        whole = Rect(0, 0, width, height)
        pixels: Pixels = np.empty((height * 4, width * 4, channels), window.dtype)
        # The tail works on sixteen times the pixels but sees two of the trunk's around:
        # it runs in small exact pieces.
        for tile in tail_tiles(width, height):
            source = np.ascontiguousarray(features[tile.window.within(whole)])
            piece = self._enlarged(source, run)
            core = piece[tile.core.within(tile.window, 4)]
            inner = shuffled_to_pixels(core, 1, channels, window.dtype)
            pixels[tile.core.within(whole, 4)] = inner
        return pixels

    def _trunk(self, window: Pixels, buffers: Buffers, run: Run) -> Floats:
        """(h, w, 1 or 3) -> (h, w, 64)."""
        height, width, _ = window.shape
        source, head, dense, *ring = buffers.pictures(
            height,
            width,
            [self._lane, FEATURES, 4 * GROWTH, FEATURES, FEATURES, FEATURES],
        )
        _fill(source, window)
        steps = [Step(self._first, [source], head)]
        entry = head
        free = cycle(ring)
        for block in self._blocks:
            targets = [next(free) for _ in block]
            steps += _block_steps(block, entry, dense, targets)
            entry = targets[-1]
        features = ring[0]
        steps.append(Step(self._body, [entry], features, residuals=[(1.0, head)]))
        run(steps)
        return features

    def _enlarged(self, features: Floats, run: Run) -> Floats:
        """(h, w, 64) -> (4h, 4w, 3 and padding)."""
        height, width, _ = features.shape
        (double,) = self._double.pictures(2 * height, 2 * width, [FEATURES])
        here, there, last = self._large.pictures(
            4 * height,
            4 * width,
            [FEATURES, FEATURES, self._last.outputs],
        )
        steps = [
            Step(self._up1, [features], double, shift=1),
            Step(self._up2, [double], here, shift=1),
            Step(self._hr, [here], there),
            Step(self._last, [there], last),
        ]
        run(steps)
        return last


def tail_tiles(width: int, height: int) -> tuple[Tile, ...]:
    """The pieces in which the tail of an `RRDBNet` runs."""
    columns = Axis.fitting(width, TAIL_OVERLAP_PX, TAIL_SIDE_PX)
    rows = Axis.fitting(height, TAIL_OVERLAP_PX, TAIL_SIDE_PX)
    return grid(columns, rows)


def _count_blocks(state: State) -> int:
    names = [name for name in state if name.startswith("body.")]
    return len({name.split(".")[1] for name in names})


def _dense(filters: Callable[..., Filters], name: str) -> list[Filters]:
    """The five convolutions of a dense block; all but the last have a slope."""
    grown = [filters(f"{name}.conv{i}", LEAK) for i in (1, 2, 3, 4)]
    return together([*grown, filters(f"{name}.conv5")])


def _block_steps(
    block: Sequence[list[Filters]],
    entry: Floats,
    dense: Floats,
    targets: Sequence[Floats],
) -> Iterable[Step]:
    """Three dense blocks, one after the other, around which `entry` is added again."""
    here = entry
    last = targets[-1]
    for filters, target in zip(block, targets, strict=True):
        residuals = [(RESIDUAL, here)]
        if target is last:
            # This target may be the entry itself, which is then read at the pixel just
            # written only.
            residuals.append((RESIDUAL, entry))
        yield from _dense_steps(filters, here, dense, target, residuals)
        here = target


def _dense_steps(
    filters: list[Filters],
    here: Floats,
    dense: Floats,
    target: Floats,
    residuals: list[tuple[float, Floats]],
) -> Iterable[Step]:
    """A dense block: each convolution sees all that was grown before it in `dense`."""
    *growing, last = filters
    for number, part in enumerate(growing):
        start = number * GROWTH
        before = dense[:, :, :start]
        grown = dense[:, :, start : start + GROWTH]
        sources = [here, before] if number else [here]
        yield Step(part, sources, grown)
    yield Step(last, [here, dense], target, residuals=residuals)


def _fill(source: Floats, window: Pixels) -> None:
    """Fill `source` with three equal or different channels 0..1, and zeros up to a
    whole vector.
    """
    top = top_level(window.dtype)
    source[:, :, COLOURS:] = 0
    np.divide(window, top, out=source[:, :, :COLOURS], dtype=np.float32)
