"""Warmer or cooler faces in a photo that is being coloured: networks tend to colour skin
too pale.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gpu_worker.steps.face_geometry import FACE_PX, Place

WARMTH = (4.0, 9.0)
"""What full warmth adds to a and b of CIE Lab: a little red, more yellow."""
CENTRE = (FACE_PX * 0.5, FACE_PX * 0.55)
HALF_AXES = (FACE_PX * 0.3, FACE_PX * 0.4)
"""The oval of a face, forehead to chin, in the upright picture of one (x, y) [px]."""
WHOLE, GONE = 0.8, 1.3
"""Within how many times the oval the warmth is whole, and beyond how many it is gone."""

Floats = NDArray[np.float32]


def warmed(
    ab: Floats, places: Sequence[Place], width: int, height: int, warmth: float
) -> Floats:
    """Colours (s, s, 2), a and b of a whole photo of this size [px], with `warmth`
    (-1..1) where its faces are.
    """
    shares = np.zeros(ab.shape[:2], np.float32)
    for place in places:
        shares = np.maximum(shares, _shares(place, width, height, len(ab)))
    added = np.float32(warmth) * np.asarray(WARMTH, np.float32)
    warmer: Floats = ab + shares[:, :, np.newaxis] * added
    return warmer


def _shares(place: Place, width: int, height: int, side: int) -> Floats:
    """(side, side), 0..1: how much each point of a stretched photo is of one face."""
    middles = (np.arange(side, dtype=np.float32) + np.float32(0.5)) / side
    x = middles * width - place.x0
    y = middles * height - place.y0
    across, down = np.meshgrid(x, y)
    points = np.stack([across, down, np.ones_like(across)], 2)
    upright = points @ place.upright.T.astype(np.float32)
    offset = (upright - np.asarray(CENTRE, np.float32)) / np.asarray(
        HALF_AXES, np.float32
    )
    distance = np.hypot(offset[:, :, 0], offset[:, :, 1])
    shares: Floats = np.clip((GONE - distance) / (GONE - WHOLE), 0, 1)
    return shares.astype(np.float32)
