"""A worker beside an owner who takes the photo back, and beside attempts that were cut
off: step by step, in memory.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from gpu_worker.photo import Photo
from gpu_worker.pipeline.job import Job
from gpu_worker.pipeline.store_result import StoreResult
from gpu_worker.restore import Restored
from handlers.http.api import cancel_and_erase
from shared.errors import Code, PermanentError
from shared.s3.store import ObjectInfo
from shared.uploads import keys
from shared.uploads.documents import Record
from shared.workflows import resolve
from tests.support.upload_world import photo
from tests.unit.gpu_worker.pipeline.test_lease_renewal import Bench, bench  # noqa: F401

BROKEN = PermanentError(Code.DECODE_ERROR, "no picture in it")


def take_back(bench: Bench, code: Code) -> None:
    ctx, task_id = bench.world.ctx, bench.receipt.task_id or ""
    cancel_and_erase.erase(
        ctx, task_id, [bench.receipt]
    ) if code == Code.ERASED else bench.cancel()


@pytest.mark.parametrize("code", [Code.ERASED, Code.CANCELLED])
@pytest.mark.parametrize("when", ["copy", "put_new"])
def test_a_failure_does_not_overwrite_what_the_owner_said(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
    code: Code,
) -> None:
    """He took the photo back after the worker had asked, and while it set it aside: no
    copy, no name, no other end.
    """
    job, store = bench.begin(), bench.world.store
    put_new = store.put_new

    def meanwhile(*args: Any) -> bool:
        monkeypatch.undo()
        take_back(bench, code)
        return put_new(*args)

    def copy(
        source: ObjectInfo, bucket: str, key: str, if_match: str | None = None
    ) -> None:
        monkeypatch.undo()
        data = store.read(source.bucket, source.key)
        take_back(bench, code)
        store.put(bucket, key, data, "image/png")

    monkeypatch.setattr(store, when, copy if when == "copy" else meanwhile)
    bench.outcomes.attempt_failed(job, BROKEN)
    assert bench.world.reason(bench.decision).error_code == code
    assert store.keys("quarantine") == (keys.reason(bench.receipt.upload_id),)
    assert (bench.delivery.acked, bench.delivery.code, bench.progress()) == (
        1,
        "",
        None,
    )
    assert [
        event.fields.get("error_code")
        for event in bench.world.log()
        if event.kind == "failed"
    ] == [code]


def test_a_failure_told_by_two_attempts_is_one(bench: Bench) -> None:
    """The first was frozen until the second had begun; what it says then stands, and
    the second says the same.
    """
    frozen = bench.begin()
    bench.world.clock.advance(60)
    second = bench.begin()
    bench.outcomes.attempt_failed(frozen, BROKEN)
    first = bench.world.reason(bench.decision)
    bench.outcomes.attempt_failed(second, PermanentError(Code.OUT_OF_MEMORY, "another"))
    assert bench.world.reason(bench.decision) == first
    assert (
        len({event.event_id for event in bench.world.log() if event.kind == "failed"})
        == 1
    )
    assert bench.delivery.code == Code.DECODE_ERROR


def test_a_later_upload_at_the_key_has_its_own_failure(bench: Bench) -> None:
    """The reason that a late worker left there is of another upload."""
    bench.outcomes.attempt_failed(bench.begin(), BROKEN)
    old = bench.world.reason(bench.decision)
    bench.world.clock.advance(60)
    again = bench.world.upload("a.png", photo())
    bench.world.store.put(
        "quarantine", keys.reason(old.upload_id), old.to_bytes(), "application/json"
    )
    bench.outcomes.attempt_failed(bench.begin(), BROKEN)
    assert (
        bench.world.reason(again).source.upload_time
        == bench.world.receipt(again).source.upload_time
    )


def test_what_a_dead_worker_made_of_an_erased_photo_is_shared_with_nobody(
    bench: Bench,
) -> None:
    """Its record is there, and so is the erasure: the same photo, uploaded again, is
    restored anew.
    """
    world = bench.world
    before = world.documents()
    world.restore(bench.decision)
    world.store.put(
        "results", keys.result(bench.receipt.task_id or ""), b"png", "image/png"
    )
    left = {
        key: world.store.read("results", key)
        for key in world.store.keys("results")
        if key not in before
    }
    take_back(bench, Code.ERASED)
    for key, data in left.items():
        world.store.put("results", key, data, "application/json")
    again = world.upload("b.png", photo())
    assert (again.kind, again.task_id) == ("queued", bench.receipt.task_id)
    bench.delivery.body = world.tasks()[-1].encode()
    assert isinstance(bench.try_to_begin(), Job)
    assert not [
        key for key in world.store.keys("results") if key.startswith("processed/")
    ]


def restored(bench: Bench) -> Job:
    """A photo that the device is done with."""
    job = bench.begin()
    job.workflow = resolve("fast")
    job.restored = Restored(
        Photo(np.zeros((3, 4, 3), np.uint8)), [], {}, "ncnn", "cpu", 1
    )
    return job


def kinds(bench: Bench) -> list[str]:
    return [event.kind for event in bench.world.log()]


@pytest.mark.parametrize("erased", [False, True])
def test_a_store_that_wrote_the_record_and_answered_with_an_error(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    erased: bool,
) -> None:
    """The second try finds the record there: it is ours. And the owner is asked for, as
    always.
    """
    job, store = restored(bench), bench.world.store
    put_new = store.put_new

    def answers_5xx(bucket: str, key: str, *args: Any) -> bool:
        put_new(bucket, key, *args)
        if erased and key == keys.record(bench.receipt.task_id or ""):
            left = {
                key: (store.read("results", key), store.head("results", key))
                for key in stored(bench)
            }
            take_back(bench, Code.ERASED)
            # the erasure had looked before the worker wrote
            for name, (data, info) in left.items():
                store.put("results", name, data, info.content_type, info.metadata)
        return False

    monkeypatch.setattr(store, "put_new", answers_5xx)
    StoreResult(bench.ctx, bench.outcomes, None)(job)
    assert len(stored(bench)) == (0 if erased else 3)
    assert kinds(bench) == ["queued", "failed" if erased else "success"]
    assert (bench.delivery.acked, bench.delivery.code, bench.progress()) == (
        1,
        "",
        None,
    )


def stored(bench: Bench) -> list[str]:
    return [
        key
        for key in bench.world.store.keys("results")
        if key.startswith(("processed/", "previews/"))
    ]


@pytest.mark.parametrize("metadata", [None, {"sha256": "0" * 64, "bytes": "77"}])
def test_what_no_attempt_stored_is_no_result(
    bench: Bench, metadata: dict[str, str] | None
) -> None:
    """Somebody put something else, or half of it, where the result goes: the record
    speaks of what is there.
    """
    job, key = restored(bench), keys.result(bench.receipt.task_id or "")
    bench.world.store.put("results", key, b"", "image/png", metadata)
    StoreResult(bench.ctx, bench.outcomes, None)(job)
    record = Record.from_bytes(
        bench.world.store.read("results", keys.record(job.task.task_id)), ""
    )
    data = bench.world.store.read("results", key)
    assert (record.result_sha256, record.result_bytes) == (
        hashlib.sha256(data).hexdigest(),
        len(data),
    )


def test_what_comes_and_goes_fails_no_photo(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that refuses a write because of another one, which it does not keep:
    written at the next try.
    """
    job, store = restored(bench), bench.world.store
    put_new, refused = store.put_new, set[str]()

    def conflict(bucket: str, key: str, *args: Any) -> bool:
        if key.startswith("processed/") and key not in refused:
            refused.add(key)
            return False
        return put_new(bucket, key, *args)

    monkeypatch.setattr(store, "put_new", conflict)
    StoreResult(bench.ctx, bench.outcomes, None)(job)
    assert len(refused) == 2
    assert kinds(bench) == ["queued", "success"]
    assert len(stored(bench)) == 3


def test_the_result_of_an_attempt_that_died_is_taken(bench: Bench) -> None:
    """It says itself what it is, and the record says so, too."""
    job, key = restored(bench), keys.result(bench.receipt.task_id or "")
    about = {"sha256": "1" * 64, "bytes": "3", "engine": "torch", "device": "cuda"}
    bench.world.store.put("results", key, b"png", "image/png", about)
    StoreResult(bench.ctx, bench.outcomes, None)(job)
    record = Record.from_bytes(
        bench.world.store.read("results", keys.record(job.task.task_id)), ""
    )
    assert (record.result_sha256, record.result_bytes, record.engine) == (
        "1" * 64,
        3,
        "torch",
    )
