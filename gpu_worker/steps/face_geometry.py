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
MIN_EYES_PX = 5
"""Eyes closer than this show no face that could be restored; the official code leaves
them alone, too.
"""

FADE_FROM_PX, FADE_TO_PX = 20, 80
"""From the border of the upright face inward: where the restored face begins and where
it is whole.
"""

Floats = NDArray[np.float32]


def find(pixels: Pixels, detector: Path) -> list[Floats]:
    """(h, w, 1 or 3) -> the five points (5, 2) of every face, in pixels of the picture
    (x, y).
    """
    height, width, channels = pixels.shape
    factor = min(1.0, SEARCH_PX / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).reshape(
        size[1], size[0], channels
    )
    eight = (small // (np.iinfo(pixels.dtype).max // 255)).astype(np.uint8)
    bgr = np.ascontiguousarray(
        np.broadcast_to(eight, (*eight.shape[:2], 3))[:, :, ::-1]
    )
    _, found = cv2.FaceDetectorYN.create(str(detector), "", size, CERTAIN).detect(bgr)
    points = (
        []
        if found is None
        else [row[4:14].reshape(5, 2) / np.float32(factor) for row in np.asarray(found)]
    )
    return [five for five in points if np.hypot(*(five[1] - five[0])) >= MIN_EYES_PX]


@dataclass(frozen=True)
class Place:
    """One face's place: rows and columns [y0, y1) x [x0, x1) of the picture, and the
    way from there to upright.
    """

    x0: int
    y0: int
    x1: int
    y1: int
    upright: NDArray[np.float64]

    @property
    def window(self) -> tuple[slice, slice]:
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    @property
    def scale(self) -> float:
        """Pixels of the picture per pixel of the upright face."""
        return float(1 / np.sqrt(abs(np.linalg.det(self.upright[:, :2]))))


def place(five: Floats, width: int, height: int) -> Place | None:
    """The place of the face with these points; None when they make no face or it lies
    outside.
    """
    upright, _ = cv2.estimateAffinePartial2D(
        five.astype(np.float64), TEMPLATE, method=cv2.LMEDS
    )
    if upright is None:
        return None
    corners = np.array(
        [[0, 0], [FACE_PX, 0], [FACE_PX, FACE_PX], [0, FACE_PX]], np.float64
    )
    quad = cv2.transform(corners[None], cv2.invertAffineTransform(upright))[0]
    x0, y0 = np.maximum(np.floor(quad.min(0)), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(quad.max(0)) + 1, (width, height)).astype(int)
    if x1 <= x0 or y1 <= y0:
        return None
    # From here on positions count from the window's corner: OpenCV cannot warp pictures
    # wider than 32,767 pixels.
    moved: NDArray[np.float64] = upright.astype(np.float64)
    moved[:, 2] += upright[:, :2] @ (x0, y0)
    return Place(int(x0), int(y0), int(x1), int(y1), moved)


def cut(window: Floats, where: Place) -> Floats:
    """(h, w, 3) float32 0..1 -> (512, 512, 3), the upright face; grey where the picture
    ends.
    """
    border = (132 / 255, 133 / 255, 135 / 255)
    return cast(
        Floats,
        cv2.warpAffine(
            window,
            where.upright,
            (FACE_PX, FACE_PX),
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=border,
        ),
    )


def put_back(window: Floats, face: Floats, where: Place, strength: float) -> Floats:
    """The window with the restored upright `face` over its old one, fading out towards
    the border.
    """
    rgba = np.dstack([face, _fade() * np.float32(strength)])
    back = cv2.invertAffineTransform(where.upright)
    if where.scale < 1:  # warping alone would skip pixels of the larger face
        side = max(1, round(FACE_PX * where.scale))
        rgba = cv2.resize(rgba, (side, side), interpolation=cv2.INTER_AREA)
        step = FACE_PX / side
        back = back @ np.array(
            [[step, 0, (step - 1) / 2], [0, step, (step - 1) / 2], [0, 0, 1]]
        )
    warped = cv2.warpAffine(
        rgba, back, (window.shape[1], window.shape[0]), flags=cv2.INTER_LINEAR
    )
    share = warped[:, :, 3:]
    return window + share * (warped[:, :, :3] - window)


def _fade() -> Floats:
    """(512, 512): 0 at the border, 1 inside."""
    line = np.minimum(np.arange(FACE_PX), np.arange(FACE_PX)[::-1])
    ramp = np.clip((line - FADE_FROM_PX) / (FADE_TO_PX - FADE_FROM_PX), 0, 1)
    smooth = ramp * ramp * (3 - 2 * ramp)
    return np.minimum.outer(smooth, smooth).astype(np.float32)
