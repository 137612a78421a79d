"""Haze: what is taken away, that it is what OpenCV would have taken away, and that none
of it is needed for that.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from gpu_worker import steps
from gpu_worker.photo import Photo, Pixels
from gpu_worker.pixels import area, row_chunks
from gpu_worker.steps import dehaze
from shared.runtime.settings import Settings
from shared.workflows import ResolvedStep
from tests.support.extras import needs
from tests.support.pictures import difference, photo_like

SIZES = [
    (1, 1),
    (3, 900),
    (900, 3),
    (40, 50),
    (801, 1201),
    (1600, 1600),
    (1000, 1500),
    (777, 2333),
]
"""Among them such as are reduced by whole factors, which OpenCV rounds in another way,
and by none.
"""
WITHOUT_OPENCV = """
import sys
sys.modules["cv2"] = sys.modules["torch"] = None
import numpy as np
from gpu_worker import steps
from gpu_worker.photo import Photo
from shared.runtime.settings import Settings
from shared.workflows import ResolvedStep
tools = steps.Tools(Settings(), lambda done: None)
photo = Photo(np.full((30, 40, 3), 200, np.uint8))
print(steps.run(photo, ResolvedStep("dehaze", None, {"amount": 0.9}), None, tools).photo.pixels.shape)
"""


def run(pixels: Pixels, amount: float) -> steps.StepResult:
    tools = steps.Tools(Settings(), lambda done: None)
    return steps.run(
        Photo(pixels), ResolvedStep("dehaze", None, {"amount": amount}), None, tools
    )  # type: ignore[arg-type]


def hazy(scene: Pixels, through: float, haze: tuple[int, int, int]) -> Pixels:
    return np.rint(scene * through + np.array(haze) * (1 - through)).astype(np.uint8)


def scene() -> Pixels:
    """Dark and colourful blocks below a strip of sky."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 2, (10, 12, 3), dtype=np.uint8) * 200
    picture = blocks.repeat(20, 0).repeat(20, 1)
    picture[:30] = (225, 230, 240)
    return picture


def test_dehaze_brings_the_scene_back() -> None:
    """A known veil over a known scene: most of it is gone, and the colour of the haze
    was found.
    """
    clear = scene()
    veiled = hazy(clear, 0.5, (225, 230, 240))
    result = run(veiled, 0.95)
    before, after = (
        difference(p[40:], clear[40:]).mean() for p in (veiled, result.photo.pixels)
    )
    assert after < 0.35 * before
    assert np.allclose(np.array(result.detail["haze"]) * 255, (225, 230, 240), atol=6)


def test_dehaze_of_nothing_is_the_photo() -> None:
    """Off means untouched; a clear photo stays close to itself."""
    pixels = photo_like(60, 80)
    assert run(pixels, 0).photo.pixels is pixels


@pytest.mark.parametrize(("channels", "bits"), [(1, 8), (3, 16), (1, 16)])
def test_dehaze_keeps_depth_and_channels(channels: int, bits: int) -> None:
    """And works on tiny pictures."""
    for size in ((1, 1), (3, 900), (40, 50)):
        pixels = photo_like(*size, channels, bits)
        found = run(pixels, 0.9).photo.pixels
        assert (found.shape, found.dtype) == (pixels.shape, pixels.dtype)


def by_opencv(pixels: Pixels, amount: float, cv2: Any) -> Pixels:
    """The same method, written with OpenCV's functions on the whole picture."""
    height, width, channels = pixels.shape
    top = np.float32(np.iinfo(pixels.dtype).max)
    factor = min(1.0, dehaze.SIDE_PX / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = (
        cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).reshape(
            size[1], size[0], channels
        )
        / top
    )
    patch, side = (
        np.ones((dehaze.PATCH_PX, dehaze.PATCH_PX), np.uint8),
        2 * dehaze.RADIUS_PX + 1,
    )

    def dark(picture: Any) -> Any:
        return cv2.erode(np.ascontiguousarray(picture.min(2)), patch)

    def mean(picture: Any) -> Any:
        return cv2.blur(picture, (side, side), borderType=cv2.BORDER_REFLECT)

    darkest = dark(small).ravel()
    count = max(1, round(darkest.size * dehaze.HAZIEST))
    haze = small.reshape(darkest.size, -1)[
        np.argpartition(darkest, -count)[-count:]
    ].mean(0)
    haze = np.maximum(haze, dehaze.NEVER_BLACK)
    guide, rough = small.mean(2), 1 - np.float32(amount) * dark(small / haze)
    slope = (mean(guide * rough) - mean(guide) * mean(rough)) / (
        mean(guide * guide) - mean(guide) ** 2 + dehaze.SMOOTHNESS
    )
    lines = np.stack([mean(slope), mean(mean(rough) - slope * mean(guide))], 2)
    wide = cv2.resize(lines, (width, height), interpolation=cv2.INTER_LINEAR).reshape(
        height, width, 2
    )
    values = pixels / top
    through = np.clip(
        wide[:, :, :1] * values.mean(2, keepdims=True) + wide[:, :, 1:],
        dehaze.THICKEST,
        dehaze.CLEAREST,
    )
    return np.rint(np.clip((values - haze) / through + haze, 0, 1) * top).astype(
        pixels.dtype
    )


@pytest.mark.parametrize("size", SIZES)
def test_the_result_is_that_of_opencv(size: tuple[int, int]) -> None:
    """At most a level off, at either depth, in colour and grey, for every kind of
    reduction.
    """
    needs("cv2", "torch")
    cv2 = importlib.import_module("cv2")
    for channels, bits in ((3, 8), (1, 8), (3, 16), (1, 16)):
        pixels = photo_like(*size, channels, bits)
        assert (
            difference(run(pixels, 0.9).photo.pixels, by_opencv(pixels, 0.9, cv2)).max()
            <= 1
        )


def test_a_big_photo_is_read_in_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """And how many at a time changes nothing."""
    pixels = photo_like(1300, 900)
    whole, reduced = run(pixels, 0.9).photo.pixels, area.reduce(pixels, (554, 800))
    monkeypatch.setattr(row_chunks, "BAND_BYTES", 100_000)
    assert np.array_equal(area.reduce(pixels, (554, 800)), reduced)
    assert np.array_equal(run(pixels, 0.9).photo.pixels, whole)


def test_it_runs_where_neither_opencv_nor_pytorch_is_installed() -> None:
    """As on the base install."""
    found = subprocess.run(
        [sys.executable, "-c", WITHOUT_OPENCV],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.stdout.strip(), found.returncode) == ("(30, 40, 3)", 0), found.stderr
