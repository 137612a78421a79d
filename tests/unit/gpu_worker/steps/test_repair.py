"""The step `repair`, as a worker runs it on the base install."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gpu_worker import steps
from gpu_worker.damage import detection
from gpu_worker.photo import Photo
from shared import workflows
from shared.errors import Code, NotFound, PermanentError
from shared.models import Model
from shared.runtime.settings import Settings
from shared.workflows import ResolvedStep
from tests.support.scratches import photo, scratched


def run(
    given: Photo, mask: str = "", model: Model | None = None, engine: Any = None
) -> steps.StepResult:
    tools = steps.Tools(Settings(), lambda done: None)
    step = ResolvedStep("repair", model, {"sensitivity": 0.5, "mask": mask})
    return steps.run(given, step, engine, tools)


class Painter:
    """An engine whose network fills every hole with one colour, and spoils what is
    around; it stands in for one with LaMa's weights.
    """

    def load_hole_filler(self, model: Model) -> Painter:
        assert model.name == "lama"
        return self

    def fill(
        self, window: NDArray[np.uint8], mask: NDArray[np.bool_]
    ) -> NDArray[np.uint8]:
        assert max(window.shape) <= 512
        assert window.shape[2:] == (3,)
        filled = 255 - window
        filled[mask] = (10, 20, 30)
        return filled


def test_it_needs_no_weights() -> None:
    assert workflows.resolve("repair").models == []


def test_what_is_damaged_is_filled_and_all_else_stays() -> None:
    """Alpha, too; the size is the photo's."""
    damaged, _ = scratched(photo("cat"), seed=4)
    deep = damaged.astype(np.uint16) * 257
    alpha = np.full(deep.shape[:2], 7, np.uint16)
    result = run(Photo(deep, alpha))
    mask = detection.find(deep, 0.5, Settings()).mask
    assert np.array_equal(result.photo.pixels[~mask], deep[~mask])
    assert (result.photo.pixels[mask] != deep[mask]).any()
    assert np.array_equal(result.photo.alpha, alpha)  # type: ignore[arg-type]
    assert result.detail["mask_share"] == round(float(mask.mean()), 6)
    assert result.detail["lines"] > 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_fills_the_holes_and_nothing_else(dtype: Any, channels: int) -> None:
    """In windows, whatever the photo's size; grey and 16 bits as they are."""
    top = np.iinfo(dtype).max
    size = (600, 1100, channels)
    photo_ = np.random.default_rng(0).integers(0, top, size, dtype)
    model = workflows.resolve("repair", {"model": "lama"}).steps[0].model
    result = run(Photo(photo_), "9 20,20 1080,580", model, Painter())
    mask = result.mask
    assert mask is not None
    assert np.array_equal(result.photo.pixels[~mask], photo_[~mask])
    filled = np.array([20] if channels == 1 else [10, 20, 30]) * (top // 255)
    assert (result.photo.pixels[mask] == filled).all()


def test_an_engine_that_fills_no_holes_says_so() -> None:
    model = workflows.resolve("repair", {"model": "lama"}).steps[0].model
    with pytest.raises(NotFound, match="darkroom models pull lama"):
        run(Photo(photo("cat")), "9 20,20", model, SimpleNamespace(name="ncnn"))


def test_a_photo_without_damage_comes_back_as_it_is() -> None:
    clean = Photo(photo("cat"))
    result = run(clean)
    assert result.photo is clean
    assert result.detail["mask_share"] == 0


def test_strokes_are_what_is_repaired_and_nothing_else() -> None:
    clean = photo("cat")
    result = run(Photo(clean), "5 10,10 100,10; 9 50,60")
    mask = result.mask
    assert mask is not None
    assert mask[10, 10:101].all()
    assert mask[60, 47:54].all()
    assert mask.sum() < 700
    assert np.array_equal(result.photo.pixels[~mask], clean[~mask])
    assert (result.photo.pixels[mask] != clean[mask]).any()
    assert result.detail["mask"] == "given"


@pytest.mark.parametrize(
    "strokes", ["5", "x 1,2", "5 1,2;", "5 1,-2", "5 1.5,2", "12345 1,1", "5 9999,9999"]
)
def test_strokes_that_cannot_be_drawn_are_refused(strokes: str) -> None:
    with pytest.raises(PermanentError, match="stroke") as refused:
        run(Photo(photo("cat")), strokes)
    assert refused.value.code == Code.BAD_PARAMETER
