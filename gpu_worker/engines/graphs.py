"""CUDA graphs: the hundreds of kernels of a network, launched at once when a shape
comes again.

A capture costs a few runs and keeps its buffers, so it is made only for shapes that
repeat (the tiles of big photos, series of scans of one size), and few are kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch

Run = Callable[[torch.Tensor], torch.Tensor]

CAPTURE_AT = 3
"""The use of a shape at which its graph is captured."""
KEPT = 2
"""Captured graphs that are kept."""
REMEMBERED = 64
"""Shapes whose uses are counted."""
WARM_UP = 3


class Graphs:
    """Calls `run`; from its third call on, a shape goes through what `capture` made.

    The result lives in a buffer that the next call of the same shape overwrites.
    """

    def __init__(self, run: Run, capture: Callable[[Run, torch.Tensor], Run]) -> None:
        self._run = run
        self._capture = capture
        self._uses: OrderedDict[torch.Size, int] = OrderedDict()
        self._captured: OrderedDict[torch.Size, Run] = OrderedDict()

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        shape = batch.shape
        captured = self._captured.get(shape)
        if captured is not None:
            self._captured.move_to_end(shape)
            return captured(batch)
        if self._count_use(shape) < CAPTURE_AT:
            return self._run(batch)
        # The oldest graph goes first: its buffers make room for the new one's.
        while len(self._captured) >= KEPT:
            self._captured.popitem(last=False)
        captured = self._capture(self._run, batch)
        self._captured[shape] = captured
        return captured(batch)

    def clear(self) -> bool:
        """Release the buffers, and say whether there were any."""
        had_buffers = bool(self._captured)
        self._captured.clear()
        self._uses.clear()
        return had_buffers

    def _count_use(self, shape: torch.Size) -> int:
        """Count one more use of `shape`; the shape used longest ago is forgotten."""
        uses = self._uses.pop(shape, 0) + 1
        self._uses[shape] = uses
        if len(self._uses) > REMEMBERED:
            self._uses.popitem(last=False)
        return uses


def capture(run: Run, batch: torch.Tensor) -> Run:
    """`run` on tensors like `batch`, recorded on the current CUDA device."""
    fixed = batch.clone()
    side_stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side_stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side_stream):
        # cuDNN tries its algorithms here; inside a capture it must not.
        for _ in range(WARM_UP):
            run(fixed)
    torch.cuda.current_stream().wait_stream(side_stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = run(fixed)

    def replay(values: torch.Tensor) -> torch.Tensor:
        fixed.copy_(values)
        graph.replay()
        return output

    return replay
