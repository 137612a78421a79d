"""Copies beside a result: made for whoever asked, named in the record, and gone with the
photo.
"""

from __future__ import annotations

import hashlib
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gpu_worker import codec
from gpu_worker.photo import Photo
from gpu_worker.pipeline.job import Job
from gpu_worker.restore import Restored
from shared.errors import StorageUnavailable
from shared.uploads import keys
from shared.uploads.documents import Record
from shared.workflows import resolve
from tests.support.pictures import photo_like
from tests.support.upload_world import photo
from tests.support.worker_rig import WorkerRig


def _rig(formats: str) -> WorkerRig:
    rig = WorkerRig()
    rig.wait_with(rig.world.upload("b.png", photo(), {"formats": formats}))
    return rig


def _restored(rig: WorkerRig, width: int = 300) -> Job:
    job = rig.begin()
    job.workflow = resolve("fast")
    pixels = photo_like(200, width)
    job.restored = Restored(Photo(pixels), [], {}, "ncnn", "cpu", 1)
    return job


def _record(rig: WorkerRig) -> Record:
    key = keys.record(rig.task_id)
    return Record.from_bytes(rig.world.store.read("results", key), key)


def _stored(rig: WorkerRig) -> list[str]:
    return [each for each in rig.world.store.keys("results") if "copies/" in each]


def test_copies_are_stored_and_named_in_the_record() -> None:
    """Each as its checksum says; the labelled one shows the label, the others do not;
    a copy like a PNG is the result.
    """
    rig = _rig("jpeg,same,labelled")
    rig.store_result(_restored(rig))
    record = _record(rig)
    found = {(each.format, each.labelled): each for each in record.copies}
    assert {key: each.key.partition("-labelled")[1] for key, each in found.items()} == {
        ("jpeg", False): "",
        ("same", False): "",
        ("jpeg", True): "-labelled",
        ("same", True): "-labelled",
    }
    assert record.formats == ["jpeg", "same", "labelled"]
    assert found["same", False].key == record.result_key
    pictures = {}
    for key, each in found.items():
        data = rig.world.store.read("results", each.key)
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (
            each.sha256,
            each.bytes,
        )
        pictures[key] = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    plain = pictures["same", False].astype(int)
    assert np.abs(plain - pictures["jpeg", False]).mean() < 6
    corner = np.abs(plain - pictures["jpeg", True])[-8:, -60:]
    assert corner.mean() > 30
    assert "copies" in [step.step for step in record.steps]


def test_nobody_who_asks_for_none_gets_one() -> None:
    rig = WorkerRig()
    rig.store_result(_restored(rig))
    assert _stored(rig) == []
    assert _record(rig).copies == []


def test_what_cannot_be_made_is_noted_and_costs_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A picture too wide for a format, and an encoder that fails."""
    write = codec.write_copy

    def failing(photo: Photo, file_format: Any, *rest: Any) -> None:
        if file_format == "avif":
            raise ValueError("no")
        write(photo, file_format, *rest)

    monkeypatch.setattr(codec, "write_copy", failing)
    rig = _rig("jpeg,webp,avif")
    rig.store_result(_restored(rig, width=16_500))
    record = _record(rig)
    assert [each.format for each in record.copies] == ["jpeg"]
    notes = " ".join(record.notes)
    assert "no WEBP copy was made: 16500 x 200 px" in notes
    assert "the AVIF copy could not be made" in notes


def test_the_copy_of_an_earlier_attempt_stands() -> None:
    """The record tells the truth of whatever lies there."""
    rig = _rig("jpeg")
    key = keys.copy(rig.task_id, "jpg")
    said = {"sha256": "ab" * 32, "bytes": "7"}
    rig.world.store.put("results", key, b"earlier", "image/jpeg", said)
    rig.store_result(_restored(rig))
    (copy,) = _record(rig).copies
    assert (copy.sha256, copy.bytes) == ("ab" * 32, 7)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_copies_go_with_an_erased_photo(before: bool) -> None:
    """Whether it is erased while the worker has it, or once it is restored."""
    rig = _rig("jpeg,labelled")
    job = _restored(rig)
    if before:
        rig.erase()
    rig.store_result(job)
    if not before:
        assert len(_stored(rig)) == 2
        rig.erase()
    assert _stored(rig) == []


def test_a_store_that_is_away_costs_the_attempt_not_the_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = _rig("jpeg")
    job, put_new = _restored(rig), rig.world.store.put_new

    def away(bucket: str, key: str, *rest: Any) -> bool:
        if key.startswith("copies/"):
            raise StorageUnavailable("away")
        return put_new(bucket, key, *rest)

    monkeypatch.setattr(rig.world.store, "put_new", away)
    with pytest.raises(StorageUnavailable):
        rig.store_result(job)
    assert keys.record(rig.task_id) not in rig.world.store.keys("results")
