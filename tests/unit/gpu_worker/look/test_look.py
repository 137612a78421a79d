"""The figures of the look, on pictures whose figures are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gpu_worker.look import Look, look
from gpu_worker.photo import Photo
from gpu_worker.steps import face_geometry
from tests.support import damage
from tests.support.pictures import photo_like


def seen(pixels: damage.Pixels) -> Look:
    return look(Photo(pixels))


@pytest.mark.parametrize("sigma", [2, 5, 10])
def test_noise_is_told_in_levels(sigma: int) -> None:
    flat = np.full((200, 300, 1), 128.0)
    noise = np.random.default_rng(1).normal(0, sigma, flat.shape)
    noisy = np.rint(flat + noise).astype(np.uint8)
    assert seen(noisy).noise == pytest.approx(sigma, rel=0.15)


def test_noise_that_is_cut_off_by_white_is_no_measure() -> None:
    """Half of the photo is white paper: the other half has the noise."""
    pixels = np.full((256, 256, 1), 128.0)
    pixels[:, :160] = 255
    noise = np.random.default_rng(1).normal(0, 6, pixels.shape)
    noisy = np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)
    assert seen(noisy).noise == pytest.approx(6, rel=0.2)


@pytest.mark.parametrize("first_block", [0, 3])
def test_blocks_are_found_wherever_the_first_begins(first_block: int) -> None:
    levels = np.random.default_rng(1).integers(100, 120, (24, 24))
    blocks = np.kron(levels, np.ones((8, 8)))[first_block:, first_block:, np.newaxis]
    assert seen(blocks.astype(np.uint8)).blockiness > 3


def test_sharpness_tells_narrow_edges_from_wide_ones() -> None:
    assert seen(_edges(width_px=1)).sharpness >= 1
    assert seen(_edges(width_px=8)).sharpness == pytest.approx(0.5, abs=0.06)


def _edges(width_px: int) -> damage.Pixels:
    """Hills whose sides are `width_px` wide."""
    rising = np.clip((np.arange(33) - 8) / width_px, 0, 1) * 200
    hill = np.rint(np.concatenate([rising, rising[::-1]]))
    return np.tile(hill, (128, 3))[:, :, np.newaxis].astype(np.uint8)


def test_a_tone_is_no_colour() -> None:
    grey = damage.photos()["photographer"]
    (sepia,) = (v for v in damage.variants("p", grey) if v.name == "p, sepia")
    assert seen(sepia.pixels).tone > 10
    assert seen(sepia.pixels).colourfulness < 1
    assert seen(grey) == seen(np.repeat(grey, 3, 2))


def test_one_red_coat_in_a_grey_photo_is_seen() -> None:
    grey = np.repeat(photo_like(600, 600, 1), 3, 2)
    grey[300:312, 300:312] = (200, 20, 20)
    assert seen(grey).colourfulness < 1
    assert seen(grey).strongest_colour > 20


def test_both_depths_give_the_same_figures() -> None:
    eight = damage.photos()["portrait"]
    sixteen = eight.astype(np.uint16) * 257
    figures = look(Photo(sixteen)).as_dict()
    assert figures == pytest.approx(seen(eight).as_dict(), abs=0.3)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 50, 1), (3, 5, 3), (20, 20, 3)])
@pytest.mark.parametrize("level", [0, 255])
def test_a_photo_may_be_tiny_and_flat(shape: tuple[int, ...], level: int) -> None:
    figures = seen(np.full(shape, level, np.uint8))
    assert figures.noise == 0
    assert figures.colourfulness == 0


def test_faces_are_not_looked_at_without_a_detector() -> None:
    assert seen(photo_like(64, 64)).faces is None


def test_the_least_sharp_face_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A sharp face on the left, the same blurred on the right."""
    portrait = damage.photos()["portrait"]
    blurred = damage.blurred(portrait, 3)
    both = np.concatenate([portrait, blurred], 1)
    points = face_geometry.TEMPLATE / 4 + (60, 10)
    right = np.add(points, (portrait.shape[1], 0))
    monkeypatch.setattr(face_geometry, "find", lambda *_: [points, right])
    found = look(Photo(both), detector=tmp_path / "yunet.onnx")
    assert found.faces == 2
    assert found.face_sharpness is not None
    assert found.face_sharpness < 0.6 < found.sharpness
