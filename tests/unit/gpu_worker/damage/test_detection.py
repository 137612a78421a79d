"""Damage is found, what is none is left, and windows change nothing."""

from __future__ import annotations

import numpy as np
import pytest

from gpu_worker.damage import detection
from gpu_worker.photo import Pixels
from shared.runtime.settings import Settings
from tests.support.scratches import Mask, photo, scratched


def found(pixels: Pixels, sensitivity: float = 0.5) -> Mask:
    return detection.find(pixels, sensitivity, Settings()).mask


@pytest.mark.parametrize("name", ["portrait", "photographer", "cat"])
def test_scratches_are_found(name: str) -> None:
    """Of what the damage changed visibly, four fifths, in a quarter of the photo at
    most.
    """
    clean = photo(name, enlarged=2)
    damaged, truth = scratched(clean, seed=3)
    change = np.abs(damaged.astype(int) - clean).max(2)
    visible = truth & (change > 16)
    mask = found(damaged)
    assert mask[visible].mean() >= 0.8
    assert mask.mean() <= 0.25


@pytest.mark.parametrize("name", ["portrait", "photographer", "cat", "coffee"])
def test_a_photo_without_damage_is_left_alone(name: str) -> None:
    """But for what looks the same, such as the legs of a tripod."""
    assert found(photo(name)).mean() <= 0.05


def test_flat_and_tiny_photos_have_no_damage() -> None:
    assert not found(np.full((40, 30, 3), 90, np.uint8)).any()
    assert not found(np.zeros((1, 1, 1), np.uint16)).any()


def test_windows_and_bands_change_no_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    damaged, _ = scratched(photo("cat", enlarged=4), seed=5)
    whole = found(damaged)
    assert whole.any()
    monkeypatch.setattr(detection, "WINDOW_PX", 100)
    assert np.array_equal(found(damaged), whole)


def test_sixteen_bits_are_looked_at_as_eight_are() -> None:
    damaged, _ = scratched(photo("cat"), seed=1)
    deep = damaged.astype(np.uint16) * 257
    assert np.array_equal(found(deep), found(damaged))


def test_sensitivity_finds_more() -> None:
    damaged, _ = scratched(photo("portrait"), seed=2)
    assert found(damaged, 0.0).sum() < found(damaged, 1.0).sum()


def test_never_more_than_a_quarter_is_damage() -> None:
    """A photo that is all lines is none of scratches."""
    rng = np.random.default_rng(0)
    lines = np.full((400, 400, 1), 128, np.uint8)
    for column in np.flatnonzero(rng.random(400) < 0.3):
        lines[:, column] = 255
    assert found(lines, 1.0).mean() <= 0.25
