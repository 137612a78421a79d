"""Whether a photo has colours of its own, or one tone over its greys, as sepia has.

In a toned photo the colour follows from the brightness. So the colours are fitted by a
curve over the brightness: the curve is the tone, what is left are the colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpu_worker.look.samples import WHITE, Floats, luma, reduced
from gpu_worker.photo import Pixels

SIDE_PX = 32
LEAST_REDUCTION = 8
"""Noise and the colour blocks of JPEG are averaged away in so small a picture."""
DEGREE = 3
"""Of the polynomial that is fitted to the tone."""
NEARLY_ALL = 98
"""Percentile of the colours: a part of a photo may be grey, and a few pixels be wrong.
"""
CB_OF_BLUE, CR_OF_RED = 0.564, 0.713
"""ITU-R BT.601: chroma of the distance of a channel from luma."""


@dataclass(frozen=True)
class Colour:
    """Distances in the plane of Cb and Cr, in levels of 255. `colourfulness`: of nearly
    all colours from the tone. `strongest`: of the one farthest from it, which may be a
    single red coat. `tone`: of the tone from grey.
    """

    colourfulness: float
    strongest: float
    tone: float


def colour(pixels: Pixels) -> Colour:
    """The colour of a photo (h, w, 1 or 3) of any depth."""
    height, width, channels = pixels.shape
    if channels == 1:
        return Colour(colourfulness=0.0, strongest=0.0, tone=0.0)
    side = min(SIDE_PX, max(1, max(height, width) // LEAST_REDUCTION))
    small = reduced(pixels, side)
    brightness = luma(small)
    blue = CB_OF_BLUE * (small[:, :, 2] - brightness)
    red = CR_OF_RED * (small[:, :, 0] - brightness)
    chroma = np.stack([blue.ravel(), red.ravel()], 1)
    tone = _tone(brightness.ravel(), chroma)
    colours = _length(chroma - tone)
    return Colour(
        colourfulness=float(np.percentile(colours, NEARLY_ALL)),
        strongest=float(colours.max()),
        tone=float(np.median(_length(tone))),
    )


def _tone(brightness: Floats, chroma: Floats) -> NDArray[np.float64]:
    """(n,), (n, 2) -> (n, 2): the chroma that follows from the brightness."""
    powers = np.vander(brightness.astype(np.float64) / WHITE, DEGREE + 1)
    coefficients, *_ = np.linalg.lstsq(powers, chroma.astype(np.float64))
    fitted: NDArray[np.float64] = powers @ coefficients
    return fitted


def _length(chroma: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = np.hypot(chroma[:, 0], chroma[:, 1])
    return lengths
