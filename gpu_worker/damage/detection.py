"""Scratches, dust, creases and tears, found by their form alone.

Damage of the surface is bright or dark against what is on both sides of it, and
brighter or darker than most of the photo; a scratch is long, thin and mostly straight, a
speck of dust small and alone. Over several scales each pixel is measured (`lines`), what
stands out is joined to connected parts (`runs`), and each part is weighed as a whole.
All is counted in whole numbers, window by window: how the photo is cut changes no pixel
of the mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gpu_worker.damage import lines
from gpu_worker.damage.runs import Parts, Runs
from gpu_worker.photo import Mask, Pixels
from gpu_worker.pixels import scratch
from gpu_worker.pixels.row_chunks import bands
from shared.runtime.settings import ScratchSettings

WINDOW_PX = 768
SMALLEST_PX = 350
"""A scale is halved again while its longest side stays above this."""
SMALL_PX = 400
"""The longest side below which a photo is looked at enlarged."""
USUAL_PX = 512
"""The longest side of the photos on which lines were weighed."""
WEAK, CLEAR = 100, 128
"""The clarity of what may belong to a line, and of what may be a speck."""
STRAIGHT = 80
NETWORK_FROM, NETWORK_SHARE = 1.4, 0.5
"""Scratches that cross are one part: how many times as long as its frame the lines of
such a part are at least, and the share of the photo's longest side that it spans.
"""
CERTAIN_SHARE = 0.1
"""The share of the photo's longest side that a line has at least which proves, all by
itself, that a photo is scratched: a highlight is as clear and straight, and short.
"""
LEAST_STRONG_PX, LEAST_LENGTH_PX = 5, 20
"""Of a line: clear pixels in a straight line, and the diagonal of its frame."""
LEAST_SPECK_PX, MOST_SPECK_PX = 3, 8
"""Pixels of a speck, and the longest side of its frame."""

CERTAIN = 0.25
"""The score from which a part proves that a photo is damaged."""
EASIER, MOST_PROOFS = 1.1, 3
"""How much less is enough for each proof, at a sensitivity of the middle and above, and
how many of them count.
"""
CERTAIN_SPECKS = 4
"""How many specks prove as much as one line: a highlight looks like dust."""
SENSITIVITY_SPAN = 4.0
"""How far the sensitivity moves both scores, from one end to the other."""
LARGEST_SHARE = 0.08
"""The most of a photo that its parts may cover; the least certain are left out. A
line of one pixel becomes three wide in the mask, so this is a quarter of the photo.
"""
LEAST_ACTIVITY = 0.002
PLANE_BYTES_PER_SAMPLE = 2

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Damage:
    """The mask (height, width), True where a photo is damaged, and how many lines and
    specks it was made of. `certain`: lines that are damage whatever else is there.
    """

    mask: Mask
    lines: int
    specks: int
    certain: int


@dataclass(frozen=True)
class _Found:
    """Candidates of one plane of one scale: runs, the score of the part that each
    belongs to and that part's number, and the scores, the areas and the longest extents
    [shares of the photo's longest side] of the parts.

    `halvings`: how often the photo was halved for this scale.
    """

    halvings: int
    are_lines: bool
    runs: Runs
    part_of: NDArray[np.int64]
    scores: Floats
    areas: Floats
    extents: Floats


def find(
    pixels: Pixels,
    sensitivity: float,
    settings: ScratchSettings,
    progress: Progress = lambda _: None,
) -> Damage:
    """The damage of a picture (h, w, 1 or 3).

    `sensitivity` (0..1): how little certainty is enough; 0.5 is the middle. A small
    picture is looked at twice as large: a scratch in it is short, and little beside the
    texture around.
    """
    height, width, _ = pixels.shape
    if max(height, width) < SMALL_PX:
        large = pixels.repeat(2, 0).repeat(2, 1)
        damage = _find(large, sensitivity, settings, progress)
        blocks = damage.mask.reshape(height, 2, width, 2)
        mask: Mask = blocks.max((1, 3))
        return replace(damage, mask=mask)
    return _find(pixels, sensitivity, settings, progress)


def _find(
    pixels: Pixels,
    sensitivity: float,
    settings: ScratchSettings,
    progress: Progress,
) -> Damage:
    found: list[_Found] = []
    planes = (_plane(pixels, is_bright, settings) for is_bright in (True, False))
    for number, plane in enumerate(planes, 1):
        found += _candidates(plane)
        progress(number / 2)
    shift = (0.5 - sensitivity) * SENSITIVITY_SPAN
    certain = CERTAIN + shift
    easier = EASIER * min(1.0, 2 * sensitivity)
    size = pixels.shape[0] * pixels.shape[1]
    least = _least_score(found, certain, easier, size)
    kept = [_kept(each, least) for each in found]
    mask = cast(Mask, scratch.allocate(pixels.shape[:2], np.bool_, settings))
    _draw(kept, mask)
    counts = {True: 0, False: 0}
    for each in found:
        counts[each.are_lines] += int((each.scores >= least).sum())
    return Damage(mask, counts[True], counts[False], _certain_lines(found, certain))


def _certain_lines(found: list[_Found], certain: float) -> int:
    count = 0
    for each in found:
        is_long = each.extents >= CERTAIN_SHARE
        count += each.are_lines * int((is_long & (each.scores >= certain)).sum())
    return count


def _plane(pixels: Pixels, is_bright: bool, settings: ScratchSettings) -> Bytes:
    """The plane (h, w) in which damage is bright.

    What is white is bright in every channel, what is black in none: the darkest channel
    shows the one, the brightest, inverted, the other.
    """
    height, width, channels = pixels.shape
    plane = cast(Bytes, scratch.allocate((height, width), np.uint8, settings))
    for rows in bands(height, width * channels * PLANE_BYTES_PER_SAMPLE):
        band = pixels[rows]
        levels = band.min(2) if is_bright else band.max(2)
        if levels.dtype == np.uint16:
            levels = levels >> 8
        plane[rows] = levels if is_bright else 255 - levels
    return plane


def _candidates(plane: Bytes) -> Iterator[_Found]:
    """What stands out of a plane, scale by scale."""
    halvings = 0
    yield from _at_one_scale(plane, halvings)
    while max(plane.shape) >= 2 * SMALLEST_PX:
        plane = _halved(plane)
        halvings += 1
        yield from _at_one_scale(plane, halvings)


def _halved(plane: Bytes) -> Bytes:
    """Means of 2x2 pixels; an odd last row or column is repeated."""
    height, width = plane.shape
    half = np.empty(((height + 1) // 2, (width + 1) // 2), np.uint8)
    for rows in bands(len(half), width * 8):
        band = plane[2 * rows.start : 2 * rows.stop]
        even = np.pad(band, ((0, len(band) % 2), (0, width % 2)), "edge")
        wide = even.astype(np.uint16)
        sums = wide[::2, ::2] + wide[::2, 1::2] + wide[1::2, ::2] + wide[1::2, 1::2]
        half[rows] = (sums + 2) >> 2
    return half


def _at_one_scale(plane: Bytes, halvings: int) -> Iterator[_Found]:
    line_runs: list[Runs] = []
    speck_runs: list[Runs] = []
    for rows in bands(len(plane), 1, WINDOW_PX):
        line_map = _map_of_rows(plane, rows)
        measures = _measures(line_map, plane[rows])
        is_straight = line_map.straightness > STRAIGHT
        of_line = (line_map.clarity > WEAK) & is_straight
        line_runs.append(Runs.of(of_line, rows.start, measures))
        of_speck = line_map.clarity > CLEAR
        speck_runs.append(Runs.of(of_speck, rows.start, measures))
    longest_px = max(plane.shape)
    yield _lines(Runs.joined(line_runs), longest_px, halvings)
    yield _specks(Runs.joined(speck_runs), halvings)


def _map_of_rows(plane: Bytes, rows: slice) -> lines.LineMap:
    """The line map of some rows, made in windows."""
    width = plane.shape[1]
    top = max(0, rows.start - lines.HALO_PX)
    core_rows = slice(rows.start - top, rows.stop - top)
    parts = []
    for left in range(0, width, WINDOW_PX):
        right = min(left + WINDOW_PX, width)
        outer_left = max(0, left - lines.HALO_PX)
        outer = slice(outer_left, right + lines.HALO_PX)
        window = plane[top : rows.stop + lines.HALO_PX, outer]
        core = core_rows, slice(left - outer_left, right - outer_left)
        parts.append(lines.line_map(window).within(core))
    return lines.side_by_side(parts)


def _measures(line_map: lines.LineMap, level: Bytes) -> list[NDArray[Any]]:
    """What is summed over each part: see `_Features.of`."""
    is_full = line_map.clarity == lines.FULL
    is_strong = (line_map.clarity > CLEAR) & (line_map.straightness > CLEAR)
    background = (level - line_map.contrast).astype(np.int32)
    return [
        is_full,
        is_strong,
        line_map.straightness,
        line_map.contrast,
        line_map.activity,
        level,
        background,
        background * background,
    ]


@dataclass(frozen=True)
class _Features:
    """What the parts of one scale are like, each field (parts,). Levels are 0..1.

    `full`: share of the pixels that are as clear as can be; `strong`: pixels that are
    clear and in a straight line; `extent`: diagonal of the frame [px]; `crossing`: how
    many times as long as one line through the frame its lines are; `variety`: standard
    deviation of the background.
    """

    area: Floats
    extent: Floats
    crossing: Floats
    longest: Floats
    full: Floats
    strong: Floats
    straightness: Floats
    contrast: Floats
    activity: Floats
    level: Floats
    variety: Floats

    @classmethod
    def of(cls, parts: Parts) -> _Features:
        area = parts.area.astype(np.float64)
        sums = parts.sums.T
        full, _, straightness, contrast, activity, level, back, square = sums / area
        variance = square - back * back
        return cls(
            area=area,
            extent=np.hypot(parts.height, parts.width),
            crossing=parts.outline / 2 / (parts.height + parts.width),
            longest=np.maximum(parts.height, parts.width).astype(np.float64),
            full=full,
            strong=sums[1].astype(np.float64),
            straightness=straightness / 255,
            contrast=contrast / 255,
            activity=activity / lines.ACTIVITY_UNIT / 255,
            level=level / 255,
            variety=np.sqrt(np.maximum(variance, 0)) / 255,
        )


def _lines(runs: Runs, longest_px: int, halvings: int) -> _Found:
    """Parts that may be scratches and creases, weighed. `longest_px`: side of the plane;
    in a small photo a short line counts like a longer one.

    The weights are those of a logistic regression, by synthetic damage on photos of
    many kinds; `tests/bench/repair.py` shows what they come to.
    """
    parts = Parts.of(runs)
    seen = _Features.of(parts)
    is_line = (seen.strong >= LEAST_STRONG_PX) & (seen.extent >= LEAST_LENGTH_PX)
    small = max(1.0, USUAL_PX / longest_px)
    share = seen.extent / longest_px
    is_network = (seen.crossing >= NETWORK_FROM) & (share >= NETWORK_SHARE)
    length = seen.extent * np.where(is_network, seen.crossing, 1)
    with np.errstate(divide="ignore"):
        scores = (
            1.4 * np.log(seen.extent * small)
            + 9.7 * seen.straightness
            + 3.7 * np.log(seen.contrast)
            + 5.5 * seen.level
            + 5.5 * seen.variety
            - 2.6 * np.log(seen.area / length)
            - 1.4 * np.log(seen.activity + LEAST_ACTIVITY)
            - 14.1
        )
    return _of_parts(runs, parts, is_line, scores, share, halvings, are_lines=True)


def _specks(runs: Runs, halvings: int) -> _Found:
    """Parts that may be dust, weighed as `_lines` are."""
    parts = Parts.of(runs)
    seen = _Features.of(parts)
    is_small = (seen.longest <= MOST_SPECK_PX) & (seen.area >= LEAST_SPECK_PX)
    with np.errstate(divide="ignore"):
        scores = (
            0.9 * np.log(seen.contrast)
            + 1.8 * seen.level
            - 0.75 * np.log(seen.activity + LEAST_ACTIVITY)
            - 5.8 * seen.straightness
            + 3.8 * seen.full
            + 1.4 * np.log(seen.area / seen.extent**2)
            - 3.6
        )
    share = np.zeros(len(scores))  # of dust it is never asked
    return _of_parts(runs, parts, is_small, scores, share, halvings, are_lines=False)


def _of_parts(
    runs: Runs,
    parts: Parts,
    which: Mask,
    scores: Floats,
    extents: Floats,
    halvings: int,
    are_lines: bool,
) -> _Found:
    """The parts of `which`, numbered anew."""
    number_of = np.cumsum(which) - 1
    in_chosen = which[parts.part_of]
    return _Found(
        halvings=halvings,
        are_lines=are_lines,
        runs=runs.chosen(in_chosen),
        part_of=number_of[parts.part_of[in_chosen]],
        scores=scores[which],
        areas=parts.area[which].astype(np.float64) * 4.0**halvings,
        extents=extents[which],
    )


def _least_score(
    found: list[_Found], certain: float, easier: float, pixels: int
) -> float:
    """The score from which a part is damage; infinity where nothing proves any.

    Wires and highlights reach some score, too, but in a photo without damage hardly one
    is certain. The more that are, the likelier are others: `easier`, for each.
    """
    sure_lines = _count([each for each in found if each.are_lines], certain)
    sure_specks = _count([each for each in found if not each.are_lines], certain)
    proofs = sure_lines + sure_specks // CERTAIN_SPECKS
    if not proofs:
        return float("inf")
    scores = np.concatenate([each.scores for each in found])
    areas = np.concatenate([each.areas for each in found])
    best_first = np.argsort(-scores, kind="stable")
    covered = np.cumsum(areas[best_first])
    within = int(np.searchsorted(covered, LARGEST_SHARE * pixels, "right"))
    affordable = scores[best_first[:within]]
    likely = certain - easier * min(proofs, MOST_PROOFS)
    return max(likely, float(affordable.min(initial=np.inf)))


def _count(found: list[_Found], least: float) -> int:
    return sum(int((each.scores >= least).sum()) for each in found)


def _kept(found: _Found, least: float) -> _Found:
    """The runs of the parts that reach the score `least`."""
    which = (found.scores >= least)[found.part_of]
    return replace(found, runs=found.runs.chosen(which), part_of=found.part_of[which])


def _draw(kept: list[_Found], mask: Mask) -> None:
    """Draw all parts into `mask`, each a pixel of its scale wider at every side: the
    border of a scratch is half damage.
    """
    height, width = mask.shape
    for rows in bands(height, width * 8):
        band = mask[rows]
        band[:] = False
        for each in kept:
            factor = 1 << each.halvings
            first = rows.start // factor
            last = -(-rows.stop // factor)
            shape = (last - first + 2, -(-width // factor))
            small = np.zeros(shape, np.bool_)
            each.runs.paint(small, first - 1)
            wide = _widened(small)[1:-1]
            large = wide.repeat(factor, 0).repeat(factor, 1)
            offset = rows.start - first * factor
            band |= large[offset : offset + len(band), :width]
        scratch.drop(band)


def _widened(mask: Mask) -> Mask:
    """The mask (h, w) with the eight neighbours of each of its pixels."""
    height, width = mask.shape
    framed = np.pad(mask, 1)
    tall = framed[:height] | framed[1:-1] | framed[2:]
    return tall[:, :width] | tall[:, 1:-1] | tall[:, 2:]
