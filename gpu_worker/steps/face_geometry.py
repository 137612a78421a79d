"""Where faces are, and how one is cut out upright and put back: the geometry around a
face network.

Faces are found by YuNet. They are aligned as the official GFPGAN code does
it: five points of the face land on those of the FFHQ pictures that the network was
trained on, 512 pixels wide.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gpu_worker.engines import face_detector
from gpu_worker.photo import Pixels
from gpu_worker.pixels import affine, area
from gpu_worker.pixels.affine import Affine

FACE_PX = 512
TEMPLATE = np.array(
    [
        [192.98138, 239.94708],
        [318.90277, 240.1936],
        [256.63416, 314.01935],
        [201.26117, 371.41043],
        [313.08905, 371.15118],
    ]
)
"""Both eyes, nose, both corners of the mouth in the upright face, from left to right.
"""

SEARCH_PX = 1280
"""Longest side of the picture in which faces are searched: YuNet knows faces of 10 to
300 pixels.
"""
CERTAIN = 0.7
"""The score from which a detection counts."""
MIN_EYES_PX = 5
"""The official code, too, leaves faces alone whose eyes are closer: there is nothing to
restore.
"""

FADE_FROM_PX, FADE_TO_PX = 20, 80
"""From the border of the upright face inward: where the restored face begins and where
it is whole.
"""

OUTSIDE = (132 / 255, 133 / 255, 135 / 255)
"""The official code's grey for what lies beyond the picture."""

Floats = NDArray[np.float32]


def find(
    pixels: Pixels,
    detector: Path,
    confidence: float = CERTAIN,
    least_px: float = 0,
) -> list[Floats]:
    """The five points (5, 2) of every face in (h, w, 1 or 3) that is found with at least
    this confidence and is at least so high, in pixels of the picture (x, y).
    """
    height, width, _ = pixels.shape
    factor = min(1.0, SEARCH_PX / max(height, width))
    small_width = max(1, round(width * factor))
    small_height = max(1, round(height * factor))
    size = (small_width, small_height)
    picture = _bgr(pixels, size)
    found = face_detector.find(detector, picture, confidence)
    faces = []
    heights = (found.boxes[:, 3] - found.boxes[:, 1]) / factor
    for five, height_px in zip(found.points, heights, strict=True):
        points = five / np.float32(factor)
        if _eye_distance(points) >= MIN_EYES_PX and height_px >= least_px:
            faces.append(points)
    return faces


def _bgr(pixels: Pixels, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The picture as YuNet takes it: 8 bits, three channels, at most its search size."""
    width, height = size
    small = area.reduce(pixels, size)
    levels_of_one = np.iinfo(pixels.dtype).max // 255
    eight = (small // levels_of_one).astype(np.uint8)
    rgb = np.broadcast_to(eight, (height, width, 3))
    return np.ascontiguousarray(rgb[:, :, ::-1])


def _eye_distance(points: Floats) -> float:
    x, y = points[1] - points[0]
    return float(np.hypot(x, y))


@dataclass(frozen=True)
class Place:
    """One face's place: rows [y0, y1) and columns [x0, x1) of the picture, its window.

    `upright` maps positions in the window to the upright face.
    """

    x0: int
    y0: int
    x1: int
    y1: int
    upright: Affine

    @property
    def window(self) -> tuple[slice, slice]:
        rows = slice(self.y0, self.y1)
        columns = slice(self.x0, self.x1)
        return rows, columns

    @property
    def scale(self) -> float:
        """Pixels of the picture per pixel of the upright face."""
        rotation = self.upright[:, :2]
        area = abs(np.linalg.det(rotation))
        return float(1 / np.sqrt(area))


def place(points: Floats, width: int, height: int) -> Place | None:
    """The place of the face with these points in a picture of this size; None when they
    make no face or it lies outside.
    """
    upright = _to_template(points)
    if upright is None:
        return None
    corners = _corners(upright)
    first = np.floor(corners.min(0))
    last = np.ceil(corners.max(0))
    x0, y0 = np.maximum(first, 0).astype(int)
    x1, y1 = np.minimum(last + 1, (width, height)).astype(int)
    if x1 <= x0 or y1 <= y0:
        return None
    # From here on positions count from the window's corner.
    from_window = upright.copy()
    from_window[:, 2] += upright[:, :2] @ (x0, y0)
    return Place(int(x0), int(y0), int(x1), int(y1), from_window)


def _to_template(points: Floats) -> Affine | None:
    """The way from the picture to the upright face; None when the points make none."""
    return affine.similarity(points.astype(np.float64), TEMPLATE)


def _corners(upright: Affine) -> NDArray[np.float64]:
    """(4, 2): where the corners of the upright face lie in the picture."""
    face = np.array(
        [[0, 0], [FACE_PX, 0], [FACE_PX, FACE_PX], [0, FACE_PX]],
        np.float64,
    )
    return affine.moved(face, affine.inverse(upright))


def cut(window: Floats, place: Place) -> Floats:
    """The upright face (512, 512, 3) in a window (h, w, 3), float32 0..1; grey where
    the picture ends.
    """
    into_window = affine.inverse(place.upright)
    return affine.warp(window, into_window, (FACE_PX, FACE_PX), OUTSIDE)


def put_back(window: Floats, face: Floats, place: Place, strength: float) -> Floats:
    """The window with the restored upright `face` over its old one, fading out towards
    the border.
    """
    height, width, _ = window.shape
    opacity = _fade() * np.float32(strength)
    rgba = np.dstack([face, opacity])
    into_face = place.upright
    if place.scale < 1:
        rgba, into_face = _reduced(rgba, into_face, place.scale)
    warped = affine.warp(rgba, into_face, (width, height), (0, 0, 0, 0))
    restored = warped[:, :, :3]
    share = warped[:, :, 3:]
    return window + share * (restored - window)


def _reduced(rgba: Floats, into_face: Affine, scale: float) -> tuple[Floats, Affine]:
    """The face at the size that it has in the picture, and the way into it: warping
    alone would skip pixels of the larger face.
    """
    side = max(1, round(FACE_PX * scale))
    small = area.means(rgba, (side, side))
    factor = side / FACE_PX
    into_small = into_face * factor
    # Pixels count from their centres.
    into_small[:, 2] += (factor - 1) / 2
    return small, into_small


def _fade() -> Floats:
    """(512, 512): 0 at the border, 1 inside, with a smooth step between."""
    columns = np.arange(FACE_PX)
    to_border = np.minimum(columns, columns[::-1])
    ramp = (to_border - FADE_FROM_PX) / (FADE_TO_PX - FADE_FROM_PX)
    held = np.clip(ramp, 0, 1)
    smooth = held * held * (3 - 2 * held)
    fade = np.minimum.outer(smooth, smooth)
    return fade.astype(np.float32)
