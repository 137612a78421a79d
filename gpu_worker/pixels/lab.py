"""CIE Lab under D65 from sRGB and back, by the definition (IEC 61966-2-1, CIE 15).

OpenCV's conversion, which the official colouring code uses, interpolates in a coarse
table and is up to a quarter of a unit of L off; in 8-bit pixels that is at most one
level.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

WHITE = np.array([0.950456, 1.0, 1.088754], np.float32)
"""X, Y and Z of D65."""
TO_XYZ = np.array(
    [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ],
    np.float32,
)
TO_RGB = np.linalg.inv(TO_XYZ.astype(np.float64)).astype(np.float32)
DARK = np.float32(216 / 24389)
"""Below this share of white the cube root goes over into a line."""
SLOPE = np.float32(24389 / 27 / 116)
OFFSET = np.float32(16 / 116)


def linear(values: NDArray[Any]) -> Floats:
    """sRGB values 0..1 -> linear light 0..1, float32."""
    toe = values / 12.92
    curve = ((values + 0.055) / 1.055) ** 2.4
    light: Floats = np.where(values <= 0.04045, toe, curve).astype(np.float32)
    return light


@cache
def linear_levels(bits: int) -> Floats:
    """Linear light of every level of `bits`-bit sRGB."""
    return linear(np.arange(2**bits) / (2**bits - 1))


def from_linear(rgb: Floats) -> Floats:
    """(h, w, 3) linear light 0..1 -> CIE Lab."""
    share = (rgb @ TO_XYZ.T) / WHITE
    root = np.where(share > DARK, np.cbrt(share), SLOPE * share + OFFSET)
    x, y, z = np.moveaxis(root, 2, 0)
    lab = [116 * y - 16, 500 * (x - y), 200 * (y - z)]
    return np.stack(lab, 2).astype(np.float32)


def to_srgb(lab: Floats) -> Floats:
    """(h, w, 3) CIE Lab -> sRGB, held within 0..1."""
    lightness, a, b = np.moveaxis(lab, 2, 0)
    y = (lightness + 16) / 116
    root = np.stack([y + a / 500, y, y - b / 200], 2)
    # The line meets the cube where its root is this.
    knee = np.cbrt(DARK)
    share = np.where(root > knee, root**3, (root - OFFSET) / SLOPE)
    light = np.clip((share * WHITE) @ TO_RGB.T, 0, 1)
    curve = np.float32(1.055) * light ** np.float32(1 / 2.4) - np.float32(0.055)
    rgb: Floats = np.where(light <= 0.0031308, np.float32(12.92) * light, curve)
    return rgb
