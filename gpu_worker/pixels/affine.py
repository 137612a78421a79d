"""Pictures turned, scaled and shifted, by bilinear sampling; and the motion that lays
some points onto others.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from gpu_worker.pixels.row_chunks import bands

Floats = NDArray[np.float32]
Points = NDArray[np.float64]
Affine = NDArray[np.float64]
"""(2, 3): positions (x, y) of one picture -> positions of another."""

BYTES_PER_PX = 120
"""Working memory for each pixel of a row, roughly."""
SPREAD = 2.5 * 1.4826
"""From a median deviation to the distance beyond which a point is an outlier."""


def inverse(way: Affine) -> Affine:
    """The way back."""
    linear = np.linalg.inv(way[:, :2])
    shift = -linear @ way[:, 2]
    return np.column_stack([linear, shift])


def moved(points: Points, way: Affine) -> Points:
    """(n, 2) -> (n, 2): the points at their new positions."""
    found: Points = points @ way[:, :2].T + way[:, 2]
    return found


def warp(
    picture: Floats,
    back: Affine,
    size: tuple[int, int],
    outside: tuple[float, ...],
) -> Floats:
    """(h, w, c) -> (height, width, c) of `size` (width, height).

    `back` says where in `picture` each pixel of the result lies; `outside` is the
    colour beyond the picture, one value a channel.
    """
    width, height = size
    channels = picture.shape[2]
    # A pixel of it all around takes part where a position lies beyond the border.
    framed = np.empty(
        (picture.shape[0] + 2, picture.shape[1] + 2, channels), np.float32
    )
    framed[...] = outside
    framed[1:-1, 1:-1] = picture
    result = np.empty((height, width, channels), np.float32)
    for rows in bands(height, width * BYTES_PER_PX):
        result[rows] = _sampled(framed, back, rows, width)
    return result


def _sampled(framed: Floats, back: Affine, rows: slice, width: int) -> Floats:
    """Rows of the result; `framed` begins a pixel before the picture."""
    y, x = np.mgrid[rows, 0:width].astype(np.float64)
    height_px, width_px, _ = framed.shape
    across = back[0, 0] * x + back[0, 1] * y + back[0, 2] + 1
    down = back[1, 0] * x + back[1, 1] * y + back[1, 2] + 1
    across = np.clip(across, 0, width_px - 1)
    down = np.clip(down, 0, height_px - 1)
    left = np.minimum(across.astype(np.intp), width_px - 2)
    top = np.minimum(down.astype(np.intp), height_px - 2)
    right_share = (across - left).astype(np.float32)[:, :, np.newaxis]
    lower_share = (down - top).astype(np.float32)[:, :, np.newaxis]
    upper = framed[top, left]
    upper = upper + right_share * (framed[top, left + 1] - upper)
    lower = framed[top + 1, left]
    lower = lower + right_share * (framed[top + 1, left + 1] - lower)
    mixed: Floats = upper + lower_share * (lower - upper)
    return mixed


def similarity(points: Points, targets: Points) -> Affine | None:
    """The rotation with scale and shift that lays `points` (n, 2) onto `targets` best;
    None where all points are one.

    The least median of squares (Rousseeuw, 1984): of the motions that two points give,
    the one whose median deviation is least decides which points count; these are then
    fitted together. A point found in a wrong place bends nothing.
    """
    best = None
    least = np.inf
    for pair in itertools.combinations(range(len(points)), 2):
        chosen = list(pair)
        way = _fitted(points[chosen], targets[chosen])
        if way is None:
            continue
        deviations = _deviations(points, targets, way)
        median = float(np.median(deviations))
        if median < least:
            best, least = way, median
    if best is None:
        return None
    reach = SPREAD * (1 + 5 / (len(points) - 2)) * np.sqrt(least)
    counts = _deviations(points, targets, best) <= max(reach, 1e-3) ** 2
    return _fitted(points[counts], targets[counts])


def _deviations(points: Points, targets: Points, way: Affine) -> NDArray[np.float64]:
    """(n,): squared distances."""
    off = moved(points, way) - targets
    squares: NDArray[np.float64] = (off**2).sum(1)
    return squares


def _fitted(points: Points, targets: Points) -> Affine | None:
    """The motion of least squares, in closed form: positions as complex numbers."""
    source = points @ (1, 1j)
    target = targets @ (1, 1j)
    centred = source - source.mean()
    spread = float((np.abs(centred) ** 2).sum())
    if spread < 1e-9:
        return None
    turn = (centred.conj() * (target - target.mean())).sum() / spread
    shift = target.mean() - turn * source.mean()
    return np.array(
        [
            [turn.real, -turn.imag, shift.real],
            [turn.imag, turn.real, shift.imag],
        ]
    )
