"""What was under the damage, from what is around it.

`repaired` goes over a picture in windows and asks an `Inpainter` for each. The one of this
module needs no weights: it begins with the colours around, smoothed, and then lets
small overlapping squares agree on the fewest cosine waves that continue what is known
(Guleryuz, "Nonlinear Approximation Based Image Recovery Using Adaptive Sparse
Reconstructions and Iterated Denoising", 2006). Edges and fine texture go on over a
scratch; a wide hole becomes smooth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from gpu_worker.photo import Mask, Pixels, top_level
from gpu_worker.pixels import scratch
from gpu_worker.pixels.bleed import bleed
from gpu_worker.pixels.row_chunks import bands
from shared.runtime.heartbeat import own
from shared.runtime.settings import ScratchSettings

CORE_PX, HALO_PX = 416, 48
"""A window is a core with a halo at each side: 512 px, which is what networks see."""
BLOCK_PX, STRIDE_PX = 8, 2
ROUNDS, COLOUR_ROUNDS = 16, 6
"""Of the lightness, and of what is left of the colours: that is smooth anyway."""
COARSEST, FINEST = 0.25, 0.008
"""The least amplitude of a wave, of a picture of 0..1, in the first and last round."""
SMOOTHINGS = 60

Floats = NDArray[np.float32]
Integers = NDArray[np.intp]
Progress = Callable[[float], None]


class Inpainter(Protocol):
    """Fills the holes of one window."""

    def fill(self, window: Pixels, mask: Mask) -> Pixels:
        """Fill a window (h, w, 1 or 3), of 512 x 512 px at most, where `mask` (h, w) is
        True.

        The result has the same shape and type; only its masked pixels are used. The
        same window always gives the same result.
        """


def repaired(
    pixels: Pixels,
    mask: Mask,
    inpainter: Inpainter,
    settings: ScratchSettings,
    progress: Progress = lambda _: None,
) -> Pixels:
    """`pixels` (h, w, c) with other values where `mask` (h, w) is True, and with the
    very same everywhere else.

    Windows follow each other, row by row, and each takes what was filled before for
    known: no seam is where two meet. One in which nothing is known waits for its
    neighbours; where all of the picture is damage, it stays as it is.
    """
    filling = _Filling(_copy(pixels, settings), mask, inpainter)
    waiting = list(_cores(mask))
    count = len(waiting)
    while waiting:
        later = []
        for core in waiting:
            own().beat()
            if not filling.fill(core):
                later.append(core)
            progress(1 - len(later) / count)
        if len(later) == len(waiting):
            break
        waiting = later
    return filling.pixels


class _Filling:
    """A picture whose holes are filled core by core."""

    def __init__(self, pixels: Pixels, mask: Mask, inpainter: Inpainter) -> None:
        self.pixels = pixels
        self._mask = mask
        self._open = mask.copy()
        self._inpainter = inpainter

    def fill(self, core: tuple[slice, slice]) -> bool:
        """Fill the holes of a core. False: nothing around it is known yet."""
        rows, columns = core
        outer = _outer(rows), _outer(columns)
        holes = self._open[outer]
        if holes.all():
            return False
        window = cast(Pixels, np.ascontiguousarray(self.pixels[outer]))
        filled = self._inpainter.fill(window, holes)
        inner = _inner(rows, outer[0]), _inner(columns, outer[1])
        is_damaged = self._mask[core][:, :, np.newaxis]
        np.copyto(self.pixels[core], filled[inner], where=is_damaged)
        self._open[core] = False
        scratch.drop(self.pixels[rows])
        return True


def _copy(pixels: Pixels, settings: ScratchSettings) -> Pixels:
    height, width, channels = pixels.shape
    copied = scratch.picture(pixels.shape, pixels.dtype, settings)
    for rows in bands(height, width * channels * pixels.itemsize):
        copied[rows] = pixels[rows]
        scratch.drop(copied[rows])
    return copied


def _cores(mask: Mask) -> Iterator[tuple[slice, slice]]:
    """The cores in which there is something to fill, row by row."""
    height, width = mask.shape
    for top in range(0, height, CORE_PX):
        for left in range(0, width, CORE_PX):
            core = slice(top, top + CORE_PX), slice(left, left + CORE_PX)
            if mask[core].any():
                yield core


def _outer(core: slice) -> slice:
    return slice(max(0, core.start - HALO_PX), core.stop + HALO_PX)


def _inner(core: slice, outer: slice) -> slice:
    return slice(core.start - outer.start, core.stop - outer.start)


class SparseInpainter:
    """The inpainter without weights. It is an `Inpainter`."""

    def fill(self, window: Pixels, mask: Mask) -> Pixels:
        """Fill a window (h, w, 1 or 3) of any size, where some pixel is known."""
        top = top_level(window.dtype)
        known = np.where(mask, 0, top).astype(window.dtype)
        around = bleed(window, cast(Pixels, known))
        values: Floats = around.astype(np.float32) / top
        _smooth(values, mask)
        colours = _cosines(values.shape[2])
        waves: Floats = values @ colours.T
        _agree(waves, mask)
        levels = np.clip(waves @ colours, 0, 1) * top
        return cast(Pixels, np.rint(levels).astype(window.dtype))


def _smooth(values: Floats, mask: Mask) -> None:
    """Let every masked pixel become the mean of its four neighbours, again and again.

    Pixels are taken like the fields of a chessboard, so that each sees what is newest.
    """
    height, width = mask.shape
    down, right = np.nonzero(mask)
    is_white = (down + right) % 2 == 1
    for colour in (is_white, ~is_white) * SMOOTHINGS:
        row, column = down[colour], right[colour]
        sums = values[np.maximum(row - 1, 0), column]
        sums += values[np.minimum(row + 1, height - 1), column]
        sums += values[row, np.maximum(column - 1, 0)]
        sums += values[row, np.minimum(column + 1, width - 1)]
        values[row, column] = sums / 4


def _cosines(count: int) -> Floats:
    """The orthonormal cosine transform (DCT-II) of `count` samples, a wave a row."""
    sample = np.arange(count)
    wave = sample[:, np.newaxis]
    matrix = np.cos(np.pi * (2 * sample + 1) * wave / (2 * count))
    matrix *= np.sqrt(2 / count)
    matrix[0] /= np.sqrt(2)
    return matrix.astype(np.float32)


def _agree(values: Floats, mask: Mask) -> None:
    """Refine the masked pixels of a picture (h, w, c), in place.

    Each round takes every square apart into cosine waves, leaves out the weak ones, and
    gives each masked pixel the mean of the squares that it lies in; one that needs few
    waves counts more. What is weak becomes less from round to round.
    """
    margin = BLOCK_PX - 1
    frame = ((margin, margin), (margin, margin))
    padded = np.pad(values, (*frame, (0, 0)), "symmetric")
    is_hole = np.pad(mask, frame)
    squares = _Squares(is_hole)
    for channel in range(values.shape[2]):
        plane = padded[:, :, channel].ravel()
        rounds = COLOUR_ROUNDS if channel else ROUNDS
        for least in np.geomspace(COARSEST, FINEST, rounds, dtype=np.float32):
            squares.refine(plane, least)
        refined = plane.reshape(is_hole.shape)
        inside = refined[margin:-margin, margin:-margin]
        np.copyto(values[:, :, channel], inside, where=mask)


class _Squares:
    """The squares of a picture in which there are holes."""

    def __init__(self, is_hole: Mask) -> None:
        self._places = _places(is_hole)
        self._holes = np.flatnonzero(is_hole)
        # Only what is in a hole is summed: a small part of the squares of a scratch.
        in_squares = is_hole.ravel()[self._places]
        self._masked = np.flatnonzero(in_squares)
        place = self._places.ravel()[self._masked]
        self._hole_of = np.searchsorted(self._holes, place)
        in_one = _cosines(BLOCK_PX)
        self._transform = np.kron(in_one, in_one)

    def refine(self, plane: Floats, least: np.float32) -> None:
        """One round, on a flattened plane: waves below `least` are left out. Each is a
        sign of life.
        """
        own().beat()
        waves = plane[self._places] @ self._transform.T
        is_strong = np.abs(waves) >= least
        is_strong[:, 0] = True
        waves *= is_strong
        weight = 1 / is_strong.sum(1, dtype=np.float32)[:, np.newaxis]
        weighted = (waves @ self._transform) * weight
        weights = np.broadcast_to(weight, weighted.shape)
        plane[self._holes] = self._summed(weighted) / self._summed(weights)

    def _summed(self, values: Floats) -> NDArray[Any]:
        """(squares, pixels) -> the sum for each hole."""
        masked = values.ravel()[self._masked]
        return np.bincount(self._hole_of, masked, len(self._holes))


def _places(mask: Mask) -> Integers:
    """The places, in the flattened picture, of the pixels of each square that has a
    masked one: (squares, `BLOCK_PX`²).
    """
    width = mask.shape[1]
    counts = np.pad(mask, ((1, 0), (1, 0))).cumsum(0, np.int64).cumsum(1)
    far, near = counts[BLOCK_PX:], counts[:-BLOCK_PX]
    inside = far[:, BLOCK_PX:] - far[:, :-BLOCK_PX]
    inside -= near[:, BLOCK_PX:] - near[:, :-BLOCK_PX]
    down, right = np.nonzero(inside[::STRIDE_PX, ::STRIDE_PX])
    corners = (down * width + right) * STRIDE_PX
    offset = np.arange(BLOCK_PX)
    square = (offset[:, np.newaxis] * width + offset).ravel()
    places: Integers = corners[:, np.newaxis] + square
    return places
