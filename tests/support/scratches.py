"""Photos with damage that is known: scratches, some of them curved, and specks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

PHOTOS = Path(__file__).parents[2] / "infra/demo/photos"
FINER = 4
"""Lines are drawn so many times larger, and reduced: their borders are soft."""
DAMAGED = 0.25
"""The opacity from which a pixel counts as damaged."""

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def photo(name: str, enlarged: int = 1) -> Pixels:
    """(h, w, 1 or 3): one of the demo's photos."""
    with Image.open(PHOTOS / f"{name}.png") as image:
        size = (image.width * enlarged, image.height * enlarged)
        pixels = np.asarray(image.resize(size, Image.Resampling.BICUBIC))
    return pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels


def scratched(pixels: Pixels, seed: int, count: int = 8) -> tuple[Pixels, Mask]:
    """The photo with `count` scratches and a dozen specks, seven of ten bright, and
    where they are.
    """
    rng = np.random.default_rng(seed)
    values = pixels.astype(np.float32)
    damaged = np.zeros(pixels.shape[:2], bool)
    for _ in range(count):
        opacity = _scratch(rng, damaged.shape)
        strength = rng.uniform(0.75, 1)
        values = _over(values, opacity * strength, _level(rng))
        damaged |= opacity > DAMAGED
    for _ in range(12):
        opacity = _speck(rng, damaged.shape)
        values = _over(values, opacity, _level(rng))
        damaged |= opacity > DAMAGED
    return np.rint(values).astype(np.uint8), damaged


def _over(
    values: NDArray[np.float32], opacity: NDArray[np.float32], level: float
) -> NDArray[np.float32]:
    share = opacity[:, :, np.newaxis]
    return values * (1 - share) + np.float32(level) * share


def _level(rng: np.random.Generator) -> float:
    is_bright = rng.random() < 0.7
    return rng.uniform(225, 255) if is_bright else rng.uniform(0, 30)


def _fold(shape: tuple[int, ...]) -> float:
    """How much wider damage is than in a photo of 512 px."""
    return float((max(shape) / 512) ** 0.7)


def _scratch(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    height, width = shape
    x, y, angle = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0, np.pi)
    length = rng.uniform(0.25, 0.9) * max(shape)
    bend = rng.normal(0, 0.05) * length
    along = np.linspace(-0.5, 0.5, 40)
    aside = bend * (2 * along) ** 2
    right = x + np.cos(angle) * along * length - np.sin(angle) * aside
    down = y + np.sin(angle) * along * length + np.cos(angle) * aside
    widest = max(2, round(4 * _fold(shape)))
    thickness = int(rng.integers(1, widest + 1))
    sheet = Image.new("L", (width * FINER, height * FINER))
    points = [(a * FINER, b * FINER) for a, b in zip(right, down, strict=True)]
    pen = ImageDraw.Draw(sheet)
    pen.line(points, fill=255, width=thickness * FINER, joint="curve")
    reduced = sheet.resize((width, height), Image.Resampling.BOX)
    return np.asarray(reduced, np.float32) / 255


def _speck(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    height, width = shape
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    radius = rng.uniform(0.8, 2.5) * _fold(shape)
    down, right = np.mgrid[:height, :width]
    distance = np.hypot(right - x, down - y)
    return np.clip(radius + 0.5 - distance, 0, 1).astype(np.float32)


def psnr(one: Pixels, other: Pixels, mask: Mask) -> float:
    """Peak signal-to-noise ratio inside a mask [dB]."""
    difference = one[mask].astype(np.float64) - other[mask]
    error = float(np.mean(difference**2))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))
