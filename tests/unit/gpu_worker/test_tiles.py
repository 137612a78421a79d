"""Where tiles lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_worker.tiles import Axis, Plan, Rect, grid, next_side, plan, split
from shared.models import Model

sides = st.integers(1, 700)
overlaps = st.sampled_from([0, 1, 7, 18, 32, 64])


def model(overlap_px: int, align_px: int = 1, exact: bool = True) -> Model:
    return Model(
        name="m",
        architecture="srvgg",
        title="",
        licence="",
        overlap_px=overlap_px,
        overlap_exact=exact,
        align_px=align_px,
        files=[],
    )


def assert_covers_once(made: Plan, width: int, height: int) -> None:
    written = np.zeros((height, width), np.int32)
    for tile in made.tiles:
        written[tile.core.y0 : tile.core.y1, tile.core.x0 : tile.core.x1] += 1
    assert (written == 1).all()


def assert_context(made: Plan, picture: Rect) -> None:
    for tile in made.tiles:
        window, core = tile.window, tile.core
        assert picture.x0 <= window.x0 <= core.x0 < core.x1 <= window.x1 <= picture.x1
        assert picture.y0 <= window.y0 <= core.y0 < core.y1 <= window.y1 <= picture.y1
        assert core.x0 - window.x0 >= made.overlap or window.x0 == picture.x0
        assert window.x1 - core.x1 >= made.overlap or window.x1 == picture.x1
        assert core.y0 - window.y0 >= made.overlap or window.y0 == picture.y0
        assert window.y1 - core.y1 >= made.overlap or window.y1 == picture.y1


@settings(deadline=None, max_examples=60)
@given(sides, sides, overlaps, st.integers(1, 8), st.integers(1_000, 200_000))
def test_every_pixel_is_kept_exactly_once_with_its_context(
    width: int, height: int, overlap: int, lanes: int, max_px: int
) -> None:
    """Cores cover the picture exactly once; windows lie inside it and reach `overlap`
    beyond their core.
    """
    made = plan((width, height), model(overlap), lanes, max_px)
    assert_covers_once(made, width, height)
    assert_context(made, Rect(0, 0, width, height))


@settings(deadline=None, max_examples=60)
@given(sides, sides, overlaps, st.integers(8, 300))
def test_a_forced_side_is_the_largest_core_between_neighbours(
    width: int, height: int, overlap: int, side: int
) -> None:
    """`tile_px` bounds every window to its core with the overlap on both sides."""
    made = plan((width, height), model(overlap), 2, 10**9, side)
    assert_covers_once(made, width, height)
    assert_context(made, Rect(0, 0, width, height))
    assert max(made.window) <= side + 2 * overlap


@settings(deadline=None, max_examples=60)
@given(sides, sides, st.integers(2, 6), st.sampled_from([2, 4, 8]))
def test_windows_start_at_multiples_of_align(
    width: int, height: int, lanes: int, align: int
) -> None:
    """A network that folds pixels together sees the same folding in every tile as in
    the whole picture, of any size.
    """
    made = plan((width, height), model(16, align), lanes, 20_000)
    assert_covers_once(made, width, height)
    assert_context(made, Rect(0, 0, width, height))
    assert all(
        tile.window.x0 % align == tile.window.y0 % align == 0 for tile in made.tiles
    )
    assert {(tile.window.width, tile.window.height) for tile in made.tiles} == {
        made.window
    }


@settings(deadline=None, max_examples=60)
@given(sides, sides, overlaps)
def test_all_windows_of_a_plan_have_one_size(
    width: int, height: int, overlap: int
) -> None:
    """A GPU can batch them, and ncnn reuses its buffers."""
    made = plan((width, height), model(overlap), 2, 30_000)
    assert {(tile.window.width, tile.window.height) for tile in made.tiles} == {
        made.window
    }


@settings(deadline=None, max_examples=60)
@given(sides, sides, overlaps, st.integers(1, 8))
def test_windows_in_work_together_stay_within_the_memory(
    width: int, height: int, overlap: int, lanes: int
) -> None:
    """`max_px` holds for all lanes together, down to the smallest tile there is."""
    floor = (64 + 2 * overlap) ** 2
    max_px = lanes * floor + 50_000
    made = plan((width, height), model(overlap), lanes, max_px)
    assert made.window[0] * made.window[1] * (1 if made.alone else lanes) <= max_px


def test_a_picture_that_fits_is_one_window_on_one_core() -> None:
    """Without parallel lanes nothing is gained by cutting."""
    assert len(plan((640, 448), model(18), 1, 10**6).tiles) == 1


def test_a_picture_is_not_cut_for_speed_where_that_changes_it() -> None:
    """Two lanes would be faster with either model; only the exact one is cut."""
    assert len(plan((2000, 300), model(32, exact=True), 2, 10**6).tiles) == 2
    assert len(plan((2000, 300), model(32, exact=False), 2, 10**6).tiles) == 1


def test_what_does_not_fit_even_in_the_smallest_tile_is_planned_with_the_smallest_tile() -> (
    None
):
    """Planning never fails: the device has the last word, and the ladder answers it."""
    made = plan((1000, 1000), model(18), 2, 1)
    assert made.window[0] <= 64 + 36


@settings(deadline=None, max_examples=60)
@given(sides, sides, st.sampled_from([0, 18, 32]), st.integers(64, 200), st.data())
def test_a_split_tile_keeps_its_core_and_its_context(
    width: int, height: int, overlap: int, side: int, data: st.DataObject
) -> None:
    """The pieces of a tile cover its core exactly once, no larger than the side given, each with
    full context.
    """
    picture = Rect(0, 0, width, height)
    tiles = grid(Axis.fitting(width, overlap, 256), Axis.fitting(height, overlap, 256))
    tile = data.draw(st.sampled_from(tiles))
    pieces = split(tile, picture, side, overlap)
    assert_context(Plan(tuple(pieces), (0, 0), overlap, alone=True), picture)
    assert (
        sum(p.core.width * p.core.height for p in pieces)
        == tile.core.width * tile.core.height
    )
    assert all(p.core.width <= side and p.core.height <= side for p in pieces)


@pytest.mark.parametrize(
    ("side", "expected"),
    [(1024, 512), (500, 250), (383, 192), (192, 128), (128, 96), (96, 64)],
)
def test_the_ladder_goes_down_by_known_steps(side: int, expected: int) -> None:
    """Half, then 192, 128, 96, 64."""
    assert next_side(side) == expected


def test_the_ladder_ends_at_64() -> None:
    """Below 64 px nothing is gained: a tile is mostly overlap."""
    assert next_side(64) is None
