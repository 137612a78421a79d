"""A worker beside an owner who cancels or erases the photo, and beside attempts that
were cut off: step by step, in memory.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gpu_worker.photo import Photo
from gpu_worker.pipeline.job import Job
from gpu_worker.restore import Restored
from shared.errors import Code, PermanentError
from shared.s3.store import ObjectInfo
from shared.uploads import keys
from shared.uploads.documents import Record
from shared.workflows import resolve
from tests.support.upload_world import photo
from tests.support.worker_rig import WorkerRig

NO_PICTURE = PermanentError(Code.DECODE_ERROR, "no picture in it")


@pytest.fixture
def rig() -> WorkerRig:
    return WorkerRig()


def take_back(rig: WorkerRig, code: Code) -> None:
    if code == Code.ERASED:
        rig.erase()
    else:
        rig.cancel()


def failures(rig: WorkerRig) -> list[Any]:
    """The error codes that the audit log has."""
    events = [event for event in rig.world.log() if event.kind == "failed"]
    return [event.fields.get("error_code") for event in events]


@pytest.mark.parametrize("code", [Code.ERASED, Code.CANCELLED])
@pytest.mark.parametrize("when", ["copy", "put_new"])
def test_a_failure_does_not_overwrite_the_reason_of_the_owner(
    rig: WorkerRig,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
    code: Code,
) -> None:
    """The owner takes the photo back after the worker has looked for that, and while it
    writes the failure: no copy stays, no name, no other end.
    """
    job, store = rig.begin(), rig.world.store
    write_new = store.put_new

    def put_new(*args: Any) -> bool:
        monkeypatch.undo()
        take_back(rig, code)
        return write_new(*args)

    def copy(
        source: ObjectInfo, bucket: str, key: str, if_match: str | None = None
    ) -> None:
        monkeypatch.undo()
        data = store.read(source.bucket, source.key)
        take_back(rig, code)
        store.put(bucket, key, data, "image/png")

    monkeypatch.setattr(store, when, copy if when == "copy" else put_new)
    rig.fail(job, NO_PICTURE)
    assert rig.error_code() == code
    assert store.keys("quarantine") == (keys.reason(rig.receipt.upload_id),)
    assert rig.settled == (1, "")
    assert rig.progress() is None
    assert failures(rig) == [code]


def test_a_failure_of_two_attempts_is_one(rig: WorkerRig) -> None:
    """The first was frozen until the second had begun. What it writes then stands, and
    the second says the same.
    """
    frozen = rig.begin()
    rig.world.clock.advance(60)
    second = rig.begin()
    rig.fail(frozen, NO_PICTURE)
    first = rig.world.reason(rig.decision)
    rig.fail(second, PermanentError(Code.OUT_OF_MEMORY, "another"))
    assert rig.world.reason(rig.decision) == first
    events = {event.event_id for event in rig.world.log() if event.kind == "failed"}
    assert len(events) == 1
    assert rig.delivery.code == Code.DECODE_ERROR


def test_a_later_upload_at_the_key_has_its_own_failure(rig: WorkerRig) -> None:
    """The reason that a late worker left there is of another upload."""
    rig.fail(rig.begin(), NO_PICTURE)
    old = rig.world.reason(rig.decision)
    rig.world.clock.advance(60)
    again = rig.world.upload("a.png", photo())
    key = keys.reason(old.upload_id)
    rig.world.store.put("quarantine", key, old.to_bytes(), "application/json")
    rig.fail(rig.begin(), NO_PICTURE)
    assert rig.world.reason(again).ref == rig.world.receipt(again).ref


def test_what_a_dead_worker_made_of_an_erased_photo_is_not_shared(
    rig: WorkerRig,
) -> None:
    """Its record is there, and so is the erasure: the same photo, uploaded again, is
    restored anew.
    """
    world, store = rig.world, rig.world.store
    before = world.documents()
    world.restore(rig.decision)
    store.put("results", keys.result(rig.task_id), b"png", "image/png")
    new = [key for key in store.keys("results") if key not in before]
    left = {key: store.read("results", key) for key in new}
    rig.erase()
    for key, data in left.items():
        store.put("results", key, data, "application/json")
    task_id = rig.task_id
    rig.upload("b.png", photo())
    assert (rig.decision.kind, rig.decision.task_id) == ("queued", task_id)
    assert isinstance(rig.try_to_begin(), Job)
    processed = [key for key in store.keys("results") if key.startswith("processed/")]
    assert not processed


def restored(rig: WorkerRig) -> Job:
    """A photo that the device is done with."""
    job = rig.begin()
    pixels = np.zeros((3, 4, 3), np.uint8)
    job.workflow = resolve("fast")
    job.restored = Restored(Photo(pixels), [], {}, "ncnn", "cpu", 1)
    return job


def kinds(rig: WorkerRig) -> list[str]:
    return [event.kind for event in rig.world.log()]


def stored(rig: WorkerRig) -> list[str]:
    prefixes = ("processed/", "previews/")
    return [key for key in rig.world.store.keys("results") if key.startswith(prefixes)]


def record_of(rig: WorkerRig) -> Record:
    key = keys.record(rig.task_id)
    return Record.from_bytes(rig.world.store.read("results", key), key)


@pytest.mark.parametrize("is_erased", [False, True])
def test_a_store_that_wrote_the_record_and_answered_with_an_error(
    rig: WorkerRig,
    monkeypatch: pytest.MonkeyPatch,
    is_erased: bool,
) -> None:
    """The second try finds the record there: it is ours. An erasure is looked for, as
    always.
    """
    job, store = restored(rig), rig.world.store
    put_new = store.put_new

    def erase_too_early() -> None:
        """The erasure looked before the worker wrote, so that its results are back."""
        left = [(key, store.read("results", key)) for key in stored(rig)]
        infos = [store.head("results", key) for key, _ in left]
        rig.erase()
        for (key, data), info in zip(left, infos, strict=True):
            store.put("results", key, data, info.content_type, info.metadata)

    def answer_with_an_error(bucket: str, key: str, *args: Any) -> bool:
        put_new(bucket, key, *args)
        if is_erased and key == keys.record(rig.task_id):
            erase_too_early()
        return False

    monkeypatch.setattr(store, "put_new", answer_with_an_error)
    rig.store_result(job)
    assert len(stored(rig)) == (0 if is_erased else 3)
    assert kinds(rig) == ["queued", "failed" if is_erased else "success"]
    assert rig.settled == (1, "")
    assert rig.progress() is None


@pytest.mark.parametrize("metadata", [None, {"sha256": "0" * 64, "bytes": "77"}])
def test_what_no_attempt_stored_is_no_result(
    rig: WorkerRig, metadata: dict[str, str] | None
) -> None:
    """Something else, or half of it, lies where the result goes: the record speaks of
    what is there.
    """
    job, key = restored(rig), keys.result(rig.task_id)
    rig.world.store.put("results", key, b"", "image/png", metadata)
    rig.store_result(job)
    record, data = record_of(rig), rig.world.store.read("results", key)
    assert record.result_sha256 == hashlib.sha256(data).hexdigest()
    assert record.result_bytes == len(data)


def test_what_comes_and_goes_fails_no_photo(
    rig: WorkerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that refuses a write because of another one, which it does not keep: the
    object is written at the next try.
    """
    job, store = restored(rig), rig.world.store
    put_new, refused = store.put_new, set[str]()

    def conflict(bucket: str, key: str, *args: Any) -> bool:
        if key.startswith("processed/") and key not in refused:
            refused.add(key)
            return False
        return put_new(bucket, key, *args)

    monkeypatch.setattr(store, "put_new", conflict)
    rig.store_result(job)
    assert len(refused) == 2
    assert kinds(rig) == ["queued", "success"]
    assert len(stored(rig)) == 3


def test_the_result_of_an_attempt_that_died_is_taken(rig: WorkerRig) -> None:
    """It says itself what it is, and the record says so, too."""
    job, key = restored(rig), keys.result(rig.task_id)
    metadata = {"sha256": "1" * 64, "bytes": "3", "engine": "torch", "device": "cuda"}
    rig.world.store.put("results", key, b"png", "image/png", metadata)
    rig.store_result(job)
    record = record_of(rig)
    assert record.result_sha256 == "1" * 64
    assert (record.result_bytes, record.engine) == (3, "torch")


def test_the_mask_of_a_repair_is_stored_named_and_erased(rig: WorkerRig) -> None:
    """A grey PNG of 8 bits and the photo's size."""
    job = restored(rig)
    assert job.restored is not None
    photo_mask = np.zeros(job.restored.photo.pixels.shape[:2], bool)
    photo_mask[0, 1] = True
    job.restored = replace(job.restored, mask=photo_mask)
    rig.store_result(job)
    key = record_of(rig).mask_key
    assert key == f"masks/{rig.task_id}.png"
    with Image.open(io.BytesIO(rig.world.store.read("results", key))) as image:
        assert image.mode == "L"
        assert np.array_equal(np.asarray(image), photo_mask * np.uint8(255))
    rig.erase()
    assert key not in rig.world.store.keys("results")
