"""Connected parts of a mask, from the runs of its rows."""

from __future__ import annotations

import numpy as np
import pytest

from gpu_worker.damage.runs import Parts, Runs
from tests.support.extras import needs


@pytest.mark.parametrize("share", [0.0, 0.05, 0.4, 1.0])
def test_parts_are_those_that_are_connected(share: float) -> None:
    """As OpenCV finds them, corners included, whatever the bands."""
    needs("cv2", "test")
    import cv2

    mask = np.random.default_rng(1).random((97, 131)) < share
    values = np.full(mask.shape, 3)
    runs = Runs.joined(
        [
            Runs.of(mask[top : top + 40], top, [values[top : top + 40]])
            for top in (0, 40, 80)
        ]
    )
    parts = Parts.of(runs)
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    assert len(parts.area) == count - 1
    ours = sorted(zip(parts.width, parts.height, parts.area, strict=True))
    assert ours == sorted(map(tuple, stats[1:, 2:].tolist()))
    assert np.array_equal(parts.sums[:, 0], 3 * parts.area)


def test_runs_are_drawn_where_they_were() -> None:
    mask = np.random.default_rng(2).random((60, 80)) < 0.5
    runs = Runs.of(mask, 0, [])
    drawn = np.zeros((20, 80), bool)
    runs.paint(drawn, 30)
    assert np.array_equal(drawn, mask[30:50])
