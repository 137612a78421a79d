"""`auto` on what the base install can run: the look decides, and says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gpu_worker import gates
from gpu_worker.engines.auto import AutoEngine
from gpu_worker.photo import Photo
from gpu_worker.restore import Restored, restore
from shared.runtime.settings import Settings
from shared.workflows import resolve
from tests.support import damage, scratches


def restored(photo: Photo, settings: Settings, workflow: str = "auto") -> Restored:
    resolved = resolve(workflow)
    plan = gates.plan_of(photo, resolved, settings)
    return restore(
        photo, resolved, AutoEngine(settings), settings, lambda _: None, plan
    )


def codes(done: Restored) -> dict[str, str]:
    return {step.step: step.skipped.code for step in done.steps if step.skipped}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """No model was pulled."""
    return Settings.load(state_dir=tmp_path, models_dir=tmp_path, engine="auto")


def test_a_fine_photo_in_colour_is_left_alone(settings: Settings) -> None:
    photo = Photo(damage.photos()["cat"])
    done = restored(photo, settings)
    assert np.array_equal(done.photo.pixels, photo.pixels)
    assert codes(done) == {
        "repair": "whole",
        "denoise": "clean",
        "dehaze": "clear",
        "colorize": "in_colour",
        "upscale": "fine",
        "faces": "sharp",
    }
    assert done.applied is not None
    assert done.applied.steps == ()
    assert done.applied.models == []


def test_a_step_whose_model_is_missing_is_skipped_and_says_so(
    settings: Settings,
) -> None:
    grey = Photo(damage.photos()["photographer"])
    done = restored(grey, settings)
    (step,) = (step for step in done.steps if step.step == "colorize")
    assert step.skipped is not None
    assert step.skipped.code == "missing"
    assert "darkroom models pull ddcolor-modelscope" in step.skipped.because


def test_a_soft_small_photo_is_enlarged(settings: Settings) -> None:
    soft = Photo(damage.blurred(damage.photos()["coffee"], 2))
    done = restored(soft, settings)
    assert (done.photo.width, done.photo.height) == (2 * soft.width, 2 * soft.height)
    assert done.applied is not None
    assert [step.kind for step in done.applied.steps] == ["upscale"]
    assert [model.name for model in done.applied.models] == ["realesr-animevideov3"]


def test_a_scratched_photo_is_repaired(settings: Settings) -> None:
    whole = scratches.photo("photographer", 2)
    done = restored(Photo(scratches.scratched(whole, 1)[0]), settings)
    (step,) = (step for step in done.steps if step.step == "repair")
    assert step.skipped is None
    assert step.detail["sensitivity"] == gates.gates().repair_sensitivity


def test_haze_is_taken_off_mildly(settings: Settings) -> None:
    cat = damage.photos()["cat"]
    done = restored(Photo(damage.hazy(cat, 0.5)), settings)
    (step,) = (step for step in done.steps if step.step == "dehaze")
    assert 0.35 <= step.detail["amount"] <= 0.7


def test_a_photo_in_colour_keeps_its_colours_in_portrait(settings: Settings) -> None:
    """Its only network is not even needed."""
    photo = Photo(damage.photos()["portrait"])
    done = restored(photo, settings, "portrait")
    assert np.array_equal(done.photo.pixels, photo.pixels)
    assert codes(done) == {"colorize": "in_colour"}


def test_the_size_of_a_large_photo_is_not_counted_as_enlarged() -> None:
    assert resolve("auto").scale == 1
    assert resolve("fast").scale == 4
