"""Photos with known damage, to hold the look at them against what is known.

Each variant is a photo in one state (in colour, faded, grey, toned) with one damage.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

DEMO = Path(__file__).parent.parent.parent / "infra" / "demo" / "photos"

LUMA = np.array([0.299, 0.587, 0.114])
Pixels = NDArray[np.uint8]

TONES = {
    "sepia": ((40, 22, 10), (255, 236, 200)),
    "faint sepia": ((16, 12, 8), (250, 243, 228)),
    "cyanotype": ((8, 22, 48), (228, 242, 255)),
    "selenium": ((26, 14, 26), (250, 240, 246)),
}
"""The tone of black and of white [levels]."""
CASTS = {"warm cast": (1.0, 0.92, 0.72), "green cast": (0.86, 1.0, 0.85)}
FADED = {"faded": 0.5, "very faded": 0.35}


@dataclass(frozen=True)
class Variant:
    """A photo (h, w, 1 or 3) and what is known of it."""

    name: str
    pixels: Pixels
    colour: str
    is_clean: bool = True
    is_sharp: bool = True
    is_hazy: bool = False


def photos(folder: Path = DEMO) -> dict[str, Pixels]:
    """The photos of a folder by name, (h, w, 1 or 3)."""
    found = {}
    for path in sorted([*folder.glob("*.png"), *folder.glob("*.jpg")]):
        with Image.open(path) as image:
            mode = "L" if image.mode.startswith(("L", "I")) else "RGB"
            found[path.stem] = pixels_of(image.convert(mode))
    return found


def variants(name: str, pixels: Pixels) -> Iterator[Variant]:
    """All variants of one sharp, clean photo without haze, always the same."""
    for state, colour, changed in _states(pixels):
        yield from _damaged(f"{name}, {state}", changed, colour)


def pixels_of(image: Image.Image) -> Pixels:
    """(h, w, 1 or 3) of a picture."""
    pixels = np.asarray(image)
    height, width = pixels.shape[:2]
    return np.ascontiguousarray(pixels.reshape(height, width, -1))


def _states(pixels: Pixels) -> Iterator[tuple[str, str, Pixels]]:
    grey = _grey(pixels)
    yield "grey", "grey", grey
    yield "grey in three channels", "grey", np.repeat(grey, 3, 2)
    for tone, (black, white) in TONES.items():
        yield tone, "toned", _toned(grey, black, white)
    if pixels.shape[2] == 1:
        return
    yield "in colour", "coloured", pixels
    for faded, share in FADED.items():
        yield faded, "coloured", _faded(pixels, grey, share)
    for cast, factors in CASTS.items():
        yield cast, "coloured", _rounded(pixels * np.array(factors))


def _damaged(name: str, pixels: Pixels, colour: str) -> Iterator[Variant]:
    whole = partial(Variant, colour=colour)
    yield whole(name, pixels)
    for sigma in (1, 7, 12):
        noisy = _noisy(pixels, sigma)
        yield whole(f"{name}, noise {sigma}", noisy, is_clean=sigma < 2)
    for quality in (92, 15):
        compressed = _jpeg(pixels, quality)
        yield whole(f"{name}, JPEG {quality}", compressed, is_clean=quality > 90)
    yield whole(f"{name}, blurred", blurred(pixels, 2), is_sharp=False)
    if colour == "coloured" and "very faded" not in name:
        yield whole(f"{name}, haze", hazy(pixels, 0.5), is_hazy=True)


def _grey(pixels: Pixels) -> Pixels:
    if pixels.shape[2] == 1:
        return pixels
    return _rounded((pixels @ LUMA)[:, :, np.newaxis])


def _toned(
    grey: Pixels,
    black: tuple[int, int, int],
    white: tuple[int, int, int],
) -> Pixels:
    share = grey / 255
    return _rounded(np.array(black) + share * (np.array(white) - np.array(black)))


def _faded(pixels: Pixels, grey: Pixels, share: float) -> Pixels:
    base = grey.astype(float)
    return _rounded(base + share * (pixels - base))


def _noisy(pixels: Pixels, sigma: float) -> Pixels:
    noise = np.random.default_rng(7).normal(0, sigma, pixels.shape)
    return _rounded(pixels + noise)


def _jpeg(pixels: Pixels, quality: int) -> Pixels:
    out = io.BytesIO()
    _image(pixels).save(out, "JPEG", quality=quality)
    with Image.open(out) as image:
        return pixels_of(image)


def blurred(pixels: Pixels, radius: float) -> Pixels:
    return pixels_of(_image(pixels).filter(ImageFilter.GaussianBlur(radius)))


def hazy(pixels: Pixels, transmission: float) -> Pixels:
    veil = 215 * (1 - transmission)
    return _rounded(pixels * transmission + veil)


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _rounded(values: NDArray[Any]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
