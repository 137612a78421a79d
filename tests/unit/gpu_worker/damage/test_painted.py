"""A mask that somebody painted, as a picture, and what a worker makes of it."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gpu_worker import codec
from gpu_worker.damage.painted import fitted, painted
from gpu_worker.photo import Photo
from gpu_worker.pipeline.job import Job
from gpu_worker.restore import restore
from shared.errors import Code, PermanentError
from shared.uploads.documents import PreviewSpec, Region
from tests.support.scratches import photo
from tests.support.worker_rig import WorkerRig


class Decoder:
    """Decodes in this process."""

    def decode(self, data: bytes, _pixels: int | None = None, page: int = 1) -> Photo:
        return codec.decode(data, codec.Limits(), page)


def png(pixels: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def marks(height: int, width: int) -> NDArray[np.uint8]:
    """One cross, of the lowest level above black."""
    sheet = np.zeros((height, width), np.uint8)
    sheet[height // 2] = sheet[:, width // 3] = 1
    return sheet


def prepared(picture: NDArray[np.uint8], preview: PreviewSpec | None = None) -> Job:
    """A job of the cat and a mask beside it, as it comes to the device."""
    rig = WorkerRig(decoder=Decoder())
    rig.world.upload("incoming/repair/a.mask.png", png(picture))
    rig.upload("incoming/repair/a.png", png(photo("cat")))
    job = rig.begin()
    job.receipt = job.receipt.model_copy(update={"preview": preview})
    rig.prepare(job)
    return job


def test_what_is_painted_is_repaired_and_nothing_else() -> None:
    cat = photo("cat")
    sheet = marks(*cat.shape[:2])
    job = prepared(sheet)
    assert job.photo
    assert job.workflow
    engine: Any = SimpleNamespace(name="none", device="cpu")
    settings = WorkerRig().ctx.settings
    result = restore(
        job.photo, job.workflow, engine, settings, lambda _: None, painted=job.painted
    )
    assert result.mask is not None
    assert np.array_equal(result.mask, sheet > 0)
    assert np.array_equal(result.photo.pixels[sheet == 0], cat[sheet == 0])
    assert (result.photo.pixels[sheet > 0] != cat[sheet > 0]).any()


def test_a_preview_has_its_part_of_the_mask() -> None:
    height, width = photo("cat").shape[:2]
    sheet = marks(height, width)
    region = Region(x=width // 3 - 8, y=height // 2 - 8, width=16, height=16)
    part = prepared(sheet, PreviewSpec(region=region)).painted
    assert part is not None
    assert np.array_equal(part, sheet[region.y :, region.x :][:16, :16] > 0)
    small = prepared(sheet, PreviewSpec(max_px=64))
    assert small.photo
    assert small.painted is not None
    assert small.painted.shape == (small.photo.height, small.photo.width)
    assert small.painted.any(0).all()


def test_a_smaller_or_larger_one_is_scaled_and_loses_no_mark() -> None:
    sheet = marks(90, 120) > 0
    assert fitted(sheet, 40, 30).sum() == 40 + 30 - 1
    twice = sheet.repeat(2, 0).repeat(2, 1)
    assert np.array_equal(fitted(sheet, 240, 180), twice)
    grey = Photo(sheet[:, :, None].astype(np.uint8))
    assert painted(grey, 4001, 3001).shape == (3001, 4001)


def test_where_it_is_transparent_nothing_is_painted() -> None:
    sheet = marks(30, 40)
    white = np.full((30, 40, 3), 255, np.uint8)
    assert np.array_equal(painted(Photo(white, sheet), 40, 30), sheet > 0)


@pytest.mark.parametrize(
    ("picture", "because"),
    [
        (np.zeros((30, 40), np.uint8), "nothing of it is painted"),
        (np.ones((30, 40), np.uint8), "covers all"),
        (marks(40, 30), "30 x 40 px, the upright photo 40 x 30"),
        (marks(30, 30), "30 x 30 px"),
        (np.dstack([marks(30, 40), marks(30, 40) * 9, marks(30, 40)]), "in colour"),
    ],
)
def test_what_is_no_mask_is_refused(picture: NDArray[np.uint8], because: str) -> None:
    with pytest.raises(PermanentError, match=because) as refused:
        painted(Photo(np.atleast_3d(picture)), 40, 30)
    assert refused.value.code == Code.BAD_PARAMETER


def test_one_that_cannot_be_decoded_is_the_masks_fault() -> None:
    rig = WorkerRig(decoder=Decoder())
    whole = png(np.random.default_rng(0).integers(0, 255, (90, 90), np.uint8))
    spoilt = whole[:3000] + bytes(100) + whole[3100:]
    rig.world.upload("incoming/repair/a.mask.png", spoilt)
    rig.upload("incoming/repair/a.png", png(photo("cat")))
    with pytest.raises(PermanentError, match="the mask cannot be used"):
        rig.prepare(rig.begin())
