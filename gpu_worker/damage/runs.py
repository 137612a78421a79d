"""Connected parts of a mask that is never in memory as a whole: its rows are kept as
runs, with sums of what was measured on their pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Runs:
    """Runs of set pixels, in the order of rows and columns.

    `row`, `start`, `end`: (n,), columns [start, end). `sums`: (n, k), what was measured,
    summed over the pixels of each run.
    """

    row: Integers
    start: Integers
    end: Integers
    sums: Integers

    @classmethod
    def of(
        cls, mask: NDArray[np.bool_], top: int, measures: list[NDArray[np.generic]]
    ) -> Runs:
        """The runs of some rows (h, w) of a mask, the first of them row `top`."""
        height, width = mask.shape
        framed = np.zeros((height, width + 2), np.int8)
        framed[:, 1:-1] = mask
        change = np.diff(framed, axis=1).ravel()
        begins = np.flatnonzero(change == 1)
        ends = np.flatnonzero(change == -1)
        row, start = np.divmod(begins, width + 1)
        end = start + ends - begins
        lengths = end - start
        firsts = np.cumsum(lengths) - lengths
        sums = np.zeros((len(row), len(measures)), np.int64)
        if len(row):
            for number, values in enumerate(measures):
                picked = values[mask].astype(np.int64)
                sums[:, number] = np.add.reduceat(picked, firsts)
        return cls(row + top, start, end, sums)

    @classmethod
    def joined(cls, parts: list[Runs]) -> Runs:
        """The runs of bands that follow each other."""
        return cls(
            np.concatenate([part.row for part in parts]),
            np.concatenate([part.start for part in parts]),
            np.concatenate([part.end for part in parts]),
            np.concatenate([part.sums for part in parts]),
        )

    def chosen(self, which: NDArray[np.bool_]) -> Runs:
        """Some of the runs, in their order."""
        return Runs(
            self.row[which], self.start[which], self.end[which], self.sums[which]
        )

    def paint(self, mask: NDArray[np.bool_], top: int) -> None:
        """Set the runs' pixels in rows (h, w) of a mask, the first of them row `top`."""
        height, width = mask.shape
        first, last = np.searchsorted(self.row, (top, top + height))
        row = self.row[first:last] - top
        change = np.zeros((height, width + 1), np.int8)
        # No two runs of one row touch, so no place is named twice.
        change[row, self.start[first:last]] = 1
        change[row, self.end[first:last]] = -1
        mask |= change[:, :-1].cumsum(1, dtype=np.int8) > 0


@dataclass(frozen=True)
class Parts:
    """Connected parts, corners included.

    `part_of`: (runs,), the part of each run. `area` [px], `height`, `width` [px] of the
    frame around it, `outline` (pixel sides at its border) and `sums` (parts, k) are
    those of each part.
    """

    part_of: Integers
    area: Integers
    height: Integers
    width: Integers
    outline: Integers
    sums: Integers

    @classmethod
    def of(cls, runs: Runs) -> Parts:
        """The parts that `runs` make."""
        above, below = _touching(runs)
        _, part_of = np.unique(_roots(above, below, len(runs.row)), return_inverse=True)
        count = int(part_of.max(initial=-1)) + 1
        area = np.zeros(count, np.int64)
        np.add.at(area, part_of, runs.end - runs.start)
        sums = np.zeros((count, runs.sums.shape[1]), np.int64)
        np.add.at(sums, part_of, runs.sums)
        height = _span(part_of, count, runs.row, runs.row + 1)
        width = _span(part_of, count, runs.start, runs.end)
        # Each run has two ends; where it touches another one is no border.
        outline = 2 * (area + np.bincount(part_of, minlength=count))
        np.subtract.at(outline, part_of[above], 2 * _shared(runs, above, below))
        return cls(part_of, area, height, width, outline, sums)


def _span(part_of: Integers, count: int, start: Integers, end: Integers) -> Integers:
    least = np.full(count, np.iinfo(np.int64).max)
    most = np.zeros(count, np.int64)
    np.minimum.at(least, part_of, start)
    np.maximum.at(most, part_of, end)
    span: Integers = most - least
    return span


def _shared(runs: Runs, above: Integers, below: Integers) -> Integers:
    """How many columns the two runs of each pair share; those that touch at a corner
    share none.
    """
    first = np.maximum(runs.start[above], runs.start[below])
    last = np.minimum(runs.end[above], runs.end[below])
    shared: Integers = np.maximum(last - first, 0)
    return shared


def _roots(above: Integers, below: Integers, count: int) -> Integers:
    """The first run of the part that each of `count` runs belongs to, by the pairs that
    touch.
    """
    root = np.arange(count)
    while True:
        one, other = root[above], root[below]
        if np.array_equal(one, other):
            return root
        np.minimum.at(root, np.maximum(one, other), np.minimum(one, other))
        while True:
            shorter = root[root]
            if np.array_equal(shorter, root):
                break
            root = shorter


def _touching(runs: Runs) -> tuple[Integers, Integers]:
    """Pairs of runs of neighbouring rows that touch, be it at a corner."""
    if not len(runs.row):
        nothing = np.zeros(0, np.int64)
        return nothing, nothing
    row = int(runs.end.max()) + 2
    starts = runs.row * row + runs.start
    ends = runs.row * row + runs.end
    first = np.searchsorted(ends, starts + row)
    last = np.searchsorted(starts, ends + row, "right")
    counts = np.maximum(last - first, 0)
    above = np.repeat(np.arange(len(counts)), counts)
    before = np.repeat(np.cumsum(counts) - counts, counts)
    below = np.repeat(first, counts) + np.arange(len(above)) - before
    return above, below
