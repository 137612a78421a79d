"""Work on a big photo beats the heart of its stage, band by band."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest

from gpu_worker.codec import preview, write_png
from gpu_worker.photo import Photo
from gpu_worker.pixels.row_chunks import bands
from shared.runtime import heartbeat
from shared.runtime.heartbeat import Pulse
from shared.runtime.settings import Settings


class Counted(Pulse):
    beats = 0

    def beat(self) -> None:
        self.beats += 1


@pytest.mark.parametrize(
    "work",
    [
        lambda: write_png(
            Photo(np.zeros((1500, 2000, 3), np.uint8)), io.BytesIO(), {}, 1
        ),
        lambda: preview(
            Photo(np.zeros((3000, 3000, 3), np.uint8)), Settings(label_preview=False)
        ),
        lambda: list(bands(5, 1, 1)),
    ],
    ids=["png", "preview", "bands"],
)
def test_a_big_photo_shows_life_while_it_is_worked_through(
    work: Callable[[], object],
) -> None:
    """So the limit is one of silence, whatever the size and the machine's speed."""
    pulse = Counted()
    heartbeat.give(pulse)
    try:
        work()
    finally:
        heartbeat.give(Pulse())
    assert pulse.beats >= 4
