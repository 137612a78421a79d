"""Which photos are scratched for certain: none of those that are whole."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from gpu_worker.damage import detection
from gpu_worker.look import scratches
from infra.demo.scratches import scratched as with_crossing_lines
from shared.runtime.settings import Settings
from tests.support.scratches import photo, scratched

NAMES = ("portrait", "photographer", "cat", "coffee")


@pytest.mark.parametrize("enlarged", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_a_whole_photo_is_not_called_scratched(name: str, enlarged: int) -> None:
    """The legs of a tripod are long, thin and straight, too."""
    whole = photo(name, enlarged)
    assert scratches(whole, Settings()) == 0
    damaged, _ = scratched(whole, seed=1)
    assert scratches(damaged, Settings()) > 0


def test_scratches_that_cross_are_no_thick_one() -> None:
    """Four of them are one part, which spans the photo."""
    lines = with_crossing_lines(Image.fromarray(photo("cat", 2)))
    damaged = np.asarray(lines)
    assert scratches(damaged, Settings()) > 0
    found = detection.find(damaged, 0.15, Settings())
    changed = np.abs(damaged.astype(int) - photo("cat", 2)).max(2) > 60
    assert found.mask[changed].mean() > 0.8
