"""Where tiles lie: pure geometry. `tile_runner` moves the pixels.

A tile is a window (what the network sees) and a core (what of it is kept). Cores cover
the picture exactly once. A window reaches at least `overlap` beyond its core, except at
the border of the picture, where the network sees the same border as in the whole
picture. All windows of a plan have the same size, so that a GPU can batch them; the
windows at the border therefore keep larger cores, and no computed pixel beyond the
overlap is thrown away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from shared.models import Model

MIN_SIDE_PX = 64
LADDER_PX = (192, 128, 96, MIN_SIDE_PX)
ALONE_LOSS = 0.15
"""What each further core adds to the cost of a window that runs on all of them (Amdahl;
measured with ncnn).
"""
FRUGAL = 1.03
"""Of the plans that cost at most this much more than the cheapest, the one that needs
least memory is taken.
"""


@dataclass(frozen=True)
class Rect:
    """Columns [x0, x1) and rows [y0, y1), in input pixels."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        return self.y1 - self.y0

    def within(self, origin: Rect, scale: int = 1) -> tuple[slice, slice]:
        """(rows, columns) of this rectangle in an array that shows `origin` enlarged by
        `scale`.
        """
        return (
            slice((self.y0 - origin.y0) * scale, (self.y1 - origin.y0) * scale),
            slice((self.x0 - origin.x0) * scale, (self.x1 - origin.x0) * scale),
        )


@dataclass(frozen=True)
class Tile:
    window: Rect
    core: Rect


@dataclass(frozen=True)
class Plan:
    """How one picture is cut. `alone`: tiles run one after the other, each on every
    core.
    """

    tiles: tuple[Tile, ...]
    window: tuple[int, int]
    overlap: int
    alone: bool


@dataclass(frozen=True)
class Axis:
    """One side of a picture cut into `count` windows of equal `size` that start at
    multiples of `align`.

    `overlap` is a multiple of `align`. `length` need not be: then the windows have what
    is left over, too, and the network sees the last one end as the picture does.
    """

    length: int
    overlap: int
    count: int
    align: int = 1

    @classmethod
    def fitting(cls, length: int, overlap: int, side: int, align: int = 1) -> Axis:
        """As few windows as possible that are no larger than a core of `side` with its
        overlap.
        """
        inner = length - 2 * overlap
        return cls(length, overlap, max(1, -(-inner // side)), align)

    @property
    def size(self) -> int:
        needed = (
            -(-(self.length + 2 * self.overlap * (self.count - 1)) // self.count)
            + self.align
            - 1
        )
        return min(self.length, needed + (self.length - needed) % self.align)

    def spans(self) -> Iterator[tuple[int, int, int, int]]:
        """(window start, window end, core start, core end) of each window, in order."""
        free = self.length - self.size
        starts = [
            i * free // max(1, self.count - 1) // self.align * self.align
            for i in range(self.count)
        ]
        # Half of what two neighbours both see goes to each.
        cuts = [
            0,
            *((left + self.size + right) // 2 for left, right in pairwise(starts)),
            self.length,
        ]
        for start, core in zip(starts, pairwise(cuts), strict=True):
            yield start, start + self.size, *core


def grid(columns: Axis, rows: Axis) -> tuple[Tile, ...]:
    """The tiles of a picture, row by row."""
    return tuple(
        Tile(Rect(x[0], y[0], x[1], y[1]), Rect(x[2], y[2], x[3], y[3]))
        for y in rows.spans()
        for x in columns.spans()
    )


def plan(
    size: tuple[int, int], model: Model, lanes: int, max_px: int, side: int = 0
) -> Plan:
    """The cheapest way to cut a picture of `size` (width, height) [px].

    `lanes` windows run at the same time on one core each, or one window on all of them;
    the windows in work together hold at most `max_px` pixels. `side` > 0 forces the
    largest core. Unless the model's overlap is exact, a picture that fits is not cut,
    though that might be faster: only then its pixels are those of the whole picture.
    """
    width, height = size
    if side:
        fit = [
            Axis.fitting(length, model.overlap_px, side, model.align_px)
            for length in size
        ]
        return _Candidate(
            fit[0], fit[1], lanes, alone=lanes == 1 or fit[0].count == fit[1].count == 1
        ).plan()
    if not model.overlap_exact and width * height <= max_px:
        whole = [Axis(length, model.overlap_px, 1, model.align_px) for length in size]
        return _Candidate(whole[0], whole[1], lanes, alone=True).plan()
    candidates = [
        candidate
        for count in range(1, max(1, width // MIN_SIDE_PX) + 1)
        for candidate in _candidates(
            Axis(width, model.overlap_px, count, model.align_px), height, lanes, max_px
        )
    ]
    if not candidates:
        return plan(size, model, lanes, max_px, MIN_SIDE_PX)
    limit = FRUGAL * min(candidate.cost for candidate in candidates)
    return min(
        (c for c in candidates if c.cost <= limit), key=lambda c: (c.px_in_work, c.cost)
    ).plan()


def _candidates(
    columns: Axis, height: int, lanes: int, max_px: int
) -> Iterator[_Candidate]:
    for alone in (True, False) if lanes > 1 else (True,):
        tallest = max_px // (1 if alone else lanes) // columns.size
        side = height if tallest >= height else tallest - 2 * columns.overlap
        if side < min(height, MIN_SIDE_PX):
            continue
        fewest = Axis.fitting(height, columns.overlap, side, columns.align).count
        # A few more rows may fill the last round of lanes.
        for count in range(fewest, fewest + (1 if alone else lanes)):
            yield _Candidate(
                columns,
                Axis(height, columns.overlap, count, columns.align),
                lanes,
                alone,
            )


@dataclass(frozen=True)
class _Candidate:
    columns: Axis
    rows: Axis
    lanes: int
    alone: bool

    @property
    def count(self) -> int:
        return self.columns.count * self.rows.count

    @property
    def cost(self) -> float:
        """Time in units of one pixel on one core."""
        area = self.columns.size * self.rows.size
        if self.alone:
            return self.count * area * (1 + ALONE_LOSS * (self.lanes - 1)) / self.lanes
        return -(-self.count // self.lanes) * area

    @property
    def px_in_work(self) -> int:
        return self.columns.size * self.rows.size * (1 if self.alone else self.lanes)

    def plan(self) -> Plan:
        return Plan(
            grid(self.columns, self.rows),
            (self.columns.size, self.rows.size),
            self.columns.overlap,
            self.alone,
        )


def split(
    tile: Tile, picture: Rect, side: int, overlap: int, align: int = 1
) -> list[Tile]:
    """`tile`'s core in cores of at most `side`, each with its own window: for a tile
    that did not fit in memory.
    """
    return [
        Tile(_grown(core, picture, overlap, align), core)
        for y0, y1 in _pieces(tile.core.y0, tile.core.y1, side)
        for x0, x1 in _pieces(tile.core.x0, tile.core.x1, side)
        for core in [Rect(x0, y0, x1, y1)]
    ]


def next_side(side: int) -> int | None:
    """The next step down the ladder: half, then 192, 128, 96, 64, then none."""
    if side // 2 >= LADDER_PX[0]:
        return side // 2
    return next((step for step in LADDER_PX if step < side), None)


def _pieces(start: int, end: int, side: int) -> Iterator[tuple[int, int]]:
    count = max(1, -(-(end - start) // side))
    yield from pairwise(start + (end - start) * i // count for i in range(count + 1))


def _grown(core: Rect, picture: Rect, overlap: int, align: int) -> Rect:
    return Rect(
        max(picture.x0, (core.x0 - overlap) // align * align),
        max(picture.y0, (core.y0 - overlap) // align * align),
        min(picture.x1, -(-(core.x1 + overlap) // align) * align),
        min(picture.y1, -(-(core.y1 + overlap) // align) * align),
    )
