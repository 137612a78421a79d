"""Where faces are, and how one is cut out upright and put back: the geometry around a
face network.

Faces are found by YuNet, in OpenCV. They are aligned as the official GFPGAN code does
it: five points of the face land on those of the FFHQ pictures that the network was
trained on, 512 pixels wide.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_worker.photo import Pixels

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
Affine = NDArray[np.float64]
"""(2, 3): a rotation with scale, and a shift."""


def find(pixels: Pixels, detector: Path) -> list[Floats]:
    """The five points (5, 2) of every face in (h, w, 1 or 3), in pixels of the picture
    (x, y).
    """
    height, width, _ = pixels.shape
    factor = min(1.0, SEARCH_PX / max(height, width))
    small_width = max(1, round(width * factor))
    small_height = max(1, round(height * factor))
    size = (small_width, small_height)
    picture = _bgr(pixels, size)
    yunet = cv2.FaceDetectorYN.create(str(detector), "", size, CERTAIN)
    _, rows = yunet.detect(picture)
    if rows is None:
        return []
    faces = []
    for row in np.asarray(rows):
        points = row[4:14].reshape(5, 2) / np.float32(factor)
        if _eye_distance(points) >= MIN_EYES_PX:
            faces.append(points)
    return faces


def _bgr(pixels: Pixels, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The picture as YuNet takes it: 8 bits, three channels, at most its search size."""
    width, height = size
    channels = pixels.shape[2]
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    # OpenCV drops the axis of a single channel.
    small = small.reshape(height, width, channels)
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
    # From here on positions count from the window's corner: OpenCV cannot warp pictures
    # wider than 32,767 pixels.
    from_window = upright.copy()
    from_window[:, 2] += upright[:, :2] @ (x0, y0)
    return Place(int(x0), int(y0), int(x1), int(y1), from_window)


def _to_template(points: Floats) -> Affine | None:
    """The way from the picture to the upright face; None when the points make none."""
    found, _ = cv2.estimateAffinePartial2D(
        points.astype(np.float64),
        TEMPLATE,
        method=cv2.LMEDS,
    )
    return None if found is None else found.astype(np.float64)


def _corners(upright: Affine) -> NDArray[np.float64]:
    """(4, 2): where the corners of the upright face lie in the picture."""
    face = np.array(
        [[0, 0], [FACE_PX, 0], [FACE_PX, FACE_PX], [0, FACE_PX]],
        np.float64,
    )
    corners = cv2.transform(face[np.newaxis], _inverse(upright))
    return cast(NDArray[np.float64], corners[0])


def cut(window: Floats, place: Place) -> Floats:
    """The upright face (512, 512, 3) in a window (h, w, 3), float32 0..1; grey where
    the picture ends.
    """
    face = cv2.warpAffine(
        window,
        place.upright,
        (FACE_PX, FACE_PX),
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=OUTSIDE,
    )
    return cast(Floats, face)


def put_back(window: Floats, face: Floats, place: Place, strength: float) -> Floats:
    """The window with the restored upright `face` over its old one, fading out towards
    the border.
    """
    height, width, _ = window.shape
    opacity = _fade() * np.float32(strength)
    rgba = np.dstack([face, opacity])
    back = _inverse(place.upright)
    if place.scale < 1:
        rgba, back = _reduced(rgba, back, place.scale)
    warped = cv2.warpAffine(rgba, back, (width, height), flags=cv2.INTER_LINEAR)
    restored = warped[:, :, :3]
    share = warped[:, :, 3:]
    return window + share * (restored - window)


def _reduced(rgba: Floats, back: Affine, scale: float) -> tuple[Floats, Affine]:
    """The face at the size that it has in the picture, and its way back: warping alone
    would skip pixels of the larger face.
    """
    side = max(1, round(FACE_PX * scale))
    small = cv2.resize(rgba, (side, side), interpolation=cv2.INTER_AREA)
    factor = FACE_PX / side
    centre = (factor - 1) / 2
    enlarge = np.array(
        [
            [factor, 0, centre],
            [0, factor, centre],
            [0, 0, 1],
        ]
    )
    return cast(Floats, small), back @ enlarge


def _inverse(way: Affine) -> Affine:
    return cast(Affine, cv2.invertAffineTransform(way))


def _fade() -> Floats:
    """(512, 512): 0 at the border, 1 inside, with a smooth step between."""
    columns = np.arange(FACE_PX)
    to_border = np.minimum(columns, columns[::-1])
    ramp = (to_border - FADE_FROM_PX) / (FADE_TO_PX - FADE_FROM_PX)
    held = np.clip(ramp, 0, 1)
    smooth = held * held * (3 - 2 * held)
    fade = np.minimum.outer(smooth, smooth)
    return fade.astype(np.float32)
