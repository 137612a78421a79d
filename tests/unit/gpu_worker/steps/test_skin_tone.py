"""Warmth acts on the faces of a coloured photo, and on nothing else."""

# ruff: noqa: E402 - nothing of ONNX Runtime may be imported before `needs`

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.extras import needs

needs("onnxruntime", "worker")

from gpu_worker import models, steps
from gpu_worker.photo import Photo
from gpu_worker.steps import colorize, face_geometry, skin_tone
from shared.runtime.settings import Settings
from shared.workflows import ResolvedStep, resolve

HEIGHT, WIDTH = 300, 400
FACE = face_geometry.TEMPLATE * 0.25 + (100, 40)
"""The points of an upright face, 128 px wide, whose corner is at (100, 40)."""


class GreyNetwork:
    """An engine whose network sees no colour in any photo."""

    def load_picture_network(self, _model: Any) -> GreyNetwork:
        return self

    def run(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.zeros((*picture.shape[:2], 2), np.float32)


def run(warmth: float) -> steps.StepResult:
    model = resolve("portrait").steps[0].model
    params = {"model_size": 512, "color_factor": 1.0, "skin_tone": warmth}
    step = ResolvedStep("colorize", model, params)
    tools = steps.Tools(Settings(), lambda _: None)
    photo = Photo(np.full((HEIGHT, WIDTH, 1), 150, np.uint8))
    engine: Any = GreyNetwork()
    return colorize.run(photo, step, engine, tools)


@pytest.mark.parametrize("warmth", [0.5, -0.5])
def test_a_face_is_warmer_or_cooler_and_all_else_stays(
    monkeypatch: pytest.MonkeyPatch, warmth: float
) -> None:
    monkeypatch.setattr(models, "face_detector", lambda _: "detector.onnx")
    monkeypatch.setattr(face_geometry, "find", lambda *_: [FACE])
    result = run(warmth)
    assert (result.detail["faces"], result.detail["skin_tone"]) == (1, warmth)
    pixels = result.photo.pixels.astype(int)
    red, _, blue = pixels[40 + 70, 100 + 64]
    assert np.sign(red - blue) == np.sign(warmth)
    grey = run(0).photo.pixels
    changed = (pixels != grey).any(2)
    rows, columns = np.nonzero(changed)
    assert 40 < rows.min() < rows.max() < 40 + 160
    assert 100 < columns.min() < columns.max() < 100 + 128


def test_who_cannot_look_for_faces_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "face_detector", lambda _: None)
    assert "no face detector" in run(0.5).photo.notes[0]
    assert not run(0).photo.notes


def test_a_turned_face_is_warm_where_it_is() -> None:
    points = np.stack([WIDTH - FACE[:, 1], FACE[:, 0]], 1)
    place = face_geometry.place(points, WIDTH, HEIGHT)
    assert place
    ab = np.zeros((100, 100, 2), np.float32)
    warm = skin_tone.warmed(ab, [place], WIDTH, HEIGHT, 1.0)[:, :, 1]
    x, y = points.mean(0) / (WIDTH, HEIGHT) * 100
    assert warm[int(y), int(x)] == skin_tone.WARMTH[1]
    assert warm[:, :40].max() == 0
