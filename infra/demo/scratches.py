"""A photo scratched on purpose, the same way every time: no sample of ours is really
damaged.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

FINER = 4
"""Drawn so many times larger, and reduced: a scratch has soft borders."""
SCRATCHES = (
    (0.10, 0.02, 0.34, 0.95, 1.2, 245),
    (0.02, 0.62, 0.97, 0.40, 1.6, 250),
    (0.52, 0.05, 0.95, 0.75, 0.8, 235),
    (0.05, 0.30, 0.45, 0.10, 1.0, 15),
    (0.60, 0.97, 0.99, 0.55, 1.4, 250),
)
"""From (x, y) to (x, y) in shares of the photo, thickness [px], level."""
SPECKS = 14


def scratched(photo: Image.Image) -> Image.Image:
    """The photo (RGB) with five scratches and some dust."""
    size = (photo.width * FINER, photo.height * FINER)
    large = photo.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(large)
    for left, top, right, bottom, thickness, level in SCRATCHES:
        line = (left * size[0], top * size[1], right * size[0], bottom * size[1])
        pen.line(line, (level,) * 3, round(thickness * FINER))
    rng = np.random.default_rng(1943)
    for _ in range(SPECKS):
        x, y = rng.uniform(0, size[0]), rng.uniform(0, size[1])
        pen.circle((x, y), FINER * rng.uniform(0.8, 1.6), (240,) * 3)
    return large.resize(photo.size, Image.Resampling.BOX)
