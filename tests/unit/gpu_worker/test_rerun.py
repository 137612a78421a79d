"""Two results are compared by all that their pixels follow from."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gpu_worker.rerun import pixels_of


def png(pixels: np.ndarray, text: str = "") -> bytes:
    about = PngInfo()
    about.add_text("comment", text)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "png", pnginfo=about)
    return out.getvalue()


def test_texts_do_not_count_and_a_single_bit_does() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    other = pixels.copy()
    other[7, 7, 2] = 1
    assert png(pixels, "a") != png(pixels, "b")
    assert pixels_of(png(pixels, "a")) == pixels_of(png(pixels, "b"))
    assert pixels_of(png(pixels)) != pixels_of(png(other))


def test_another_size_counts() -> None:
    wide = png(np.zeros((4, 8, 3), np.uint8))
    high = png(np.zeros((8, 4, 3), np.uint8))
    assert pixels_of(wide) != pixels_of(high)
