"""The step `repair`, as a worker runs it on the base install."""

from __future__ import annotations

import numpy as np
import pytest

from gpu_worker import steps
from gpu_worker.damage import detection
from gpu_worker.photo import Photo
from shared import workflows
from shared.errors import Code, PermanentError
from shared.runtime.settings import Settings
from shared.workflows import ResolvedStep
from tests.support.scratches import photo, scratched


def run(given: Photo, mask: str = "") -> steps.StepResult:
    tools = steps.Tools(Settings(), lambda done: None)
    step = ResolvedStep("repair", None, {"sensitivity": 0.5, "mask": mask})
    return steps.run(given, step, None, tools)  # type: ignore[arg-type]


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
