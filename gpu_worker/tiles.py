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
"""Sides of smaller and smaller tiles, tried one after the other when memory is short."""

ALONE_LOSS = 0.15
"""What each further CPU core adds to the cost of a window that runs on all of them
(Amdahl; measured with ncnn).
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
        """The (rows, columns) of this rectangle in an array that shows `origin`
        enlarged by `scale`.
        """
        top = self.y0 - origin.y0
        left = self.x0 - origin.x0
        bottom = top + self.height
        right = left + self.width
        rows = slice(top * scale, bottom * scale)
        columns = slice(left * scale, right * scale)
        return rows, columns


@dataclass(frozen=True)
class Tile:
    """A window that the network sees, and the core of it that is kept."""

    window: Rect
    core: Rect


@dataclass(frozen=True)
class Plan:
    """How one picture is cut.

    `window`: (width, height) of every window. `alone`: tiles run one after the other,
    each on every CPU core.
    """

    tiles: tuple[Tile, ...]
    window: tuple[int, int]
    overlap: int
    alone: bool


@dataclass(frozen=True)
class Span:
    """One window along an axis, [start, end), and its core, [core_start, core_end)."""

    start: int
    end: int
    core_start: int
    core_end: int


@dataclass(frozen=True)
class Axis:
    """One side of a picture cut into `count` windows of equal `size` that start at
    multiples of `align`.

    `overlap` is a multiple of `align`. `length` need not be: then the remainder belongs
    to every window, and the network sees the last one end as the picture does.
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
        count = max(1, _ceil_div(inner, side))
        return cls(length, overlap, count, align)

    @property
    def size(self) -> int:
        seen_twice = 2 * self.overlap * (self.count - 1)
        fair = _ceil_div(self.length + seen_twice, self.count)
        needed = fair + self.align - 1
        remainder = (self.length - needed) % self.align
        return min(self.length, needed + remainder)

    def spans(self) -> Iterator[Span]:
        """The windows with their cores, in order."""
        starts = [self._start(number) for number in range(self.count)]
        cuts = [0]
        for left, right in pairwise(starts):
            # Half of what two neighbours both see goes to each.
            cuts.append((left + self.size + right) // 2)
        cuts.append(self.length)
        cores = pairwise(cuts)
        for start, core in zip(starts, cores, strict=True):
            end = start + self.size
            yield Span(start, end, *core)

    def _start(self, number: int) -> int:
        free = self.length - self.size
        even = number * free // max(1, self.count - 1)
        return _floor_to(even, self.align)


def grid(columns: Axis, rows: Axis) -> tuple[Tile, ...]:
    """The tiles of a picture, row by row."""
    tiles = []
    for y in rows.spans():
        for x in columns.spans():
            window = Rect(x.start, y.start, x.end, y.end)
            core = Rect(x.core_start, y.core_start, x.core_end, y.core_end)
            tiles.append(Tile(window, core))
    return tuple(tiles)


def plan(
    size: tuple[int, int],
    model: Model,
    lanes: int,
    max_px: int,
    side: int = 0,
) -> Plan:
    """The cheapest way to cut a picture of `size` (width, height) [px].

    `lanes` windows run at the same time on one CPU core each, or one window on all of
    them; the windows in work together hold at most `max_px` pixels. `side` > 0 forces
    the largest core. Unless the model's overlap is exact, a picture that fits is not
    cut, though that might be faster: only then its pixels are those of the whole
    picture.
    """
    width, height = size
    if side:
        return _forced(size, model, lanes, side)
    if not model.overlap_exact and width * height <= max_px:
        return _uncut(size, model, lanes)
    candidates = list(_candidates(size, model, lanes, max_px))
    if not candidates:
        return _forced(size, model, lanes, MIN_SIDE_PX)
    return _most_frugal(candidates).plan()


def _forced(size: tuple[int, int], model: Model, lanes: int, side: int) -> Plan:
    width, height = size
    columns = Axis.fitting(width, model.overlap_px, side, model.align_px)
    rows = Axis.fitting(height, model.overlap_px, side, model.align_px)
    is_uncut = columns.count == rows.count == 1
    alone = lanes == 1 or is_uncut
    return _Candidate(columns, rows, lanes, alone).plan()


def _uncut(size: tuple[int, int], model: Model, lanes: int) -> Plan:
    width, height = size
    columns = Axis(width, model.overlap_px, 1, model.align_px)
    rows = Axis(height, model.overlap_px, 1, model.align_px)
    return _Candidate(columns, rows, lanes, alone=True).plan()


def _candidates(
    size: tuple[int, int],
    model: Model,
    lanes: int,
    max_px: int,
) -> Iterator[_Candidate]:
    """The ways to cut that are worth a look and fit in memory."""
    width, height = size
    most_columns = max(1, width // MIN_SIDE_PX)
    for count in range(1, most_columns + 1):
        columns = Axis(width, model.overlap_px, count, model.align_px)
        yield from _rows_for(columns, height, lanes, max_px, alone=True)
        if lanes > 1:
            yield from _rows_for(columns, height, lanes, max_px, alone=False)


def _rows_for(
    columns: Axis,
    height: int,
    lanes: int,
    max_px: int,
    alone: bool,
) -> Iterator[_Candidate]:
    """Candidates with these columns: as few rows as fit in memory, or some more."""
    at_once = 1 if alone else lanes
    tallest = max_px // at_once // columns.size
    side = height if tallest >= height else tallest - 2 * columns.overlap
    if side < min(height, MIN_SIDE_PX):
        return
    fewest = Axis.fitting(height, columns.overlap, side, columns.align).count
    # A few more rows may fill the last round of lanes.
    for count in range(fewest, fewest + at_once):
        rows = Axis(height, columns.overlap, count, columns.align)
        yield _Candidate(columns, rows, lanes, alone)


def _most_frugal(candidates: list[_Candidate]) -> _Candidate:
    """Among the cheapest, the one that needs least memory."""
    limit = FRUGAL * min(candidate.cost for candidate in candidates)
    affordable = [candidate for candidate in candidates if candidate.cost <= limit]
    return min(affordable, key=lambda candidate: (candidate.px_in_work, candidate.cost))


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
    def window_px(self) -> int:
        return self.columns.size * self.rows.size

    @property
    def cost(self) -> float:
        """Time in units of one pixel on one CPU core."""
        if self.alone:
            loss = 1 + ALONE_LOSS * (self.lanes - 1)
            return self.count * self.window_px * loss / self.lanes
        rounds = _ceil_div(self.count, self.lanes)
        return rounds * self.window_px

    @property
    def px_in_work(self) -> int:
        at_once = 1 if self.alone else self.lanes
        return self.window_px * at_once

    def plan(self) -> Plan:
        tiles = grid(self.columns, self.rows)
        window = (self.columns.size, self.rows.size)
        return Plan(tiles, window, self.columns.overlap, self.alone)


def split(
    tile: Tile,
    picture: Rect,
    side: int,
    overlap: int,
    align: int = 1,
) -> list[Tile]:
    """`tile`'s core in cores of at most `side`, each with its own window: for a tile
    that did not fit in memory.
    """
    tiles = []
    for y0, y1 in _pieces(tile.core.y0, tile.core.y1, side):
        for x0, x1 in _pieces(tile.core.x0, tile.core.x1, side):
            core = Rect(x0, y0, x1, y1)
            window = _window_around(core, picture, overlap, align)
            tiles.append(Tile(window, core))
    return tiles


def next_side(side: int) -> int | None:
    """The next step down the ladder: half, then 192, 128, 96, 64, then none."""
    half = side // 2
    if half >= LADDER_PX[0]:
        return half
    for step in LADDER_PX:
        if step < side:
            return step
    return None


def _pieces(start: int, end: int, side: int) -> Iterator[tuple[int, int]]:
    """[start, end) in the fewest equal pieces of at most `side`."""
    length = end - start
    count = max(1, _ceil_div(length, side))
    cuts = [start + length * number // count for number in range(count + 1)]
    yield from pairwise(cuts)


def _window_around(core: Rect, picture: Rect, overlap: int, align: int) -> Rect:
    left = _floor_to(core.x0 - overlap, align)
    top = _floor_to(core.y0 - overlap, align)
    right = _ceil_to(core.x1 + overlap, align)
    bottom = _ceil_to(core.y1 + overlap, align)
    return Rect(
        max(picture.x0, left),
        max(picture.y0, top),
        min(picture.x1, right),
        min(picture.y1, bottom),
    )


def _ceil_div(number: int, divisor: int) -> int:
    return -(-number // divisor)


def _ceil_to(number: int, multiple: int) -> int:
    return _ceil_div(number, multiple) * multiple


def _floor_to(number: int, multiple: int) -> int:
    return number // multiple * multiple
