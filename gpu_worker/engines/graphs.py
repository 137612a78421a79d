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
"""The capture is made at this use of a shape."""
KEPT = 2
REMEMBERED = 64
WARM_UP = 3


class Graphs:
    """Calls `run`, from its third call on a shape through what `capture` made of it.

    The result lives in a buffer that the next call of the same shape overwrites.
    """

    def __init__(self, run: Run, capture: Callable[[Run, torch.Tensor], Run]) -> None:
        self._run, self._capture = run, capture
        self._uses: OrderedDict[torch.Size, int] = OrderedDict()
        self._captured: OrderedDict[torch.Size, Run] = OrderedDict()

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        shape = batch.shape
        if shape in self._captured:
            self._captured.move_to_end(shape)
            return self._captured[shape](batch)
        self._uses[shape] = self._uses.pop(shape, 0) + 1
        if len(self._uses) > REMEMBERED:
            self._uses.popitem(last=False)
        if self._uses[shape] < CAPTURE_AT:
            return self._run(batch)
        self._drop_beyond(KEPT - 1)
        self._captured[shape] = self._capture(self._run, batch)
        return self._captured[shape](batch)

    def clear(self) -> bool:
        """Give the buffers back; whether there were any."""
        held = bool(self._captured)
        self._captured.clear()
        self._uses.clear()
        return held

    def _drop_beyond(self, count: int) -> None:
        while len(self._captured) > count:
            self._captured.popitem(last=False)


def capture(run: Run, batch: torch.Tensor) -> Run:
    """`run` on tensors like `batch`, recorded on the current CUDA device."""
    fixed = batch.clone()
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        # cuDNN tries its algorithms here; inside a capture it must not
        for _ in range(WARM_UP):
            run(fixed)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = run(fixed)

    def replay(values: torch.Tensor) -> torch.Tensor:
        fixed.copy_(values)
        graph.replay()
        return output

    return replay
