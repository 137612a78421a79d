"""What is done so far of a photo, as a picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from gpu_worker.codec.draft import MAX_PX, Draft
from gpu_worker.photo import Metadata, Pixels
from shared.runtime.settings import Settings

SETTINGS = Settings(label_preview=False)


def picture(draft: Draft) -> Image.Image:
    data = draft.to_webp(Metadata(), SETTINGS, {})
    return Image.open(io.BytesIO(data)).convert("RGBA")


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_done_is_seen_and_the_rest_is_not(
    depth: type[np.uint8] | type[np.uint16], channels: int
) -> None:
    white = np.iinfo(depth).max
    canvas: Pixels = np.full((40, 60, channels), white, depth)
    draft = Draft(canvas.shape)
    draft.show(canvas, slice(0, 40), slice(0, 20))
    shown = np.asarray(picture(draft))
    assert shown.shape == (40, 60, 4)
    assert (shown[:, :20, 3] == 255).all()
    assert (shown[:, 20:, 3] == 0).all()
    assert shown[:, :16, :3].min() > 250


def test_a_large_picture_becomes_a_small_one() -> None:
    """Of parts that need not begin at a pixel of the small one."""
    height, width = 2 * MAX_PX + 7, MAX_PX
    canvas: Pixels = np.full((height, width, 3), 200, np.uint8)
    draft = Draft(canvas.shape)
    for top in range(0, height, 100):
        rows = slice(top, min(height, top + 100))
        draft.show(canvas, rows, slice(0, width))
    small = picture(draft)
    assert max(small.size) <= MAX_PX
    shown = np.asarray(small)
    assert (shown[..., 3] == 255).all()
    assert abs(shown[..., :3].astype(int) - 200).max() <= 2
