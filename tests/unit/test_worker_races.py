"""A worker beside an owner who takes the photo back, and beside attempts that were cut off: step by step, in memory."""

from __future__ import annotations

from typing import Any

import pytest

from gpu_worker.stages.job import Job
from handlers.api import withdraw
from shared import keys
from shared.errors import Code, PermanentError
from shared.storage import ObjectInfo
from tests.unit.test_upkeep import Bench, bench  # noqa: F401
from tests.unit.upload_world import photo

BROKEN = PermanentError(Code.DECODE_ERROR, "no picture in it")


def take_back(bench: Bench, code: Code) -> None:  # noqa: F811
    ctx, task_id = bench.world.ctx, bench.receipt.task_id or ""
    withdraw.erase(ctx, task_id, [bench.receipt]) if code == Code.ERASED else bench.cancel()


@pytest.mark.parametrize("code", [Code.ERASED, Code.CANCELLED])
@pytest.mark.parametrize("when", ["copy", "put_new"])
def test_a_failure_does_not_overwrite_what_the_owner_said(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, when: str, code: Code  # noqa: F811
) -> None:  # fmt: skip
    """He took the photo back after the worker had asked, and while it set it aside: no copy, no name, no other end."""
    job, store = bench.begin(), bench.world.store
    put_new = store.put_new

    def meanwhile(*args: Any) -> bool:
        monkeypatch.undo()
        take_back(bench, code)
        return put_new(*args)

    def copy(source: ObjectInfo, bucket: str, key: str) -> None:
        monkeypatch.undo()
        data = store.read(source.bucket, source.key)
        take_back(bench, code)
        store.put(bucket, key, data, "image/png")

    monkeypatch.setattr(store, when, copy if when == "copy" else meanwhile)
    bench.outcomes.broken(job, BROKEN)
    assert bench.world.reason(bench.decision).error_code == code
    assert store.keys("quarantine") == (keys.reason(bench.receipt.upload_id),)
    assert (bench.delivery.acked, bench.delivery.code, bench.progress()) == (1, "", None)
    assert [event.fields.get("error_code") for event in bench.world.log() if event.kind == "failed"] == [code]


def test_a_failure_told_by_two_attempts_is_one(bench: Bench) -> None:  # noqa: F811
    """The first died before it told it; the second says the same, and sets the message aside."""
    bench.outcomes.broken(bench.begin(), BROKEN)
    first = bench.world.reason(bench.decision)
    bench.world.clock.advance(60)
    bench.outcomes.broken(bench.begin(), PermanentError(Code.OUT_OF_MEMORY, "another"))
    assert bench.world.reason(bench.decision) == first
    assert len({event.event_id for event in bench.world.log() if event.kind == "failed"}) == 1
    assert bench.delivery.code == Code.DECODE_ERROR


def test_a_later_upload_at_the_key_has_its_own_failure(bench: Bench) -> None:  # noqa: F811
    """The reason that a late worker left there is of another upload."""
    bench.outcomes.broken(bench.begin(), BROKEN)
    old = bench.world.reason(bench.decision)
    bench.world.clock.advance(60)
    again = bench.world.upload("a.png", photo())
    bench.world.store.put("quarantine", keys.reason(old.upload_id), old.to_bytes(), "application/json")
    bench.outcomes.broken(bench.begin(), BROKEN)
    assert bench.world.reason(again).source.upload_time == bench.world.receipt(again).source.upload_time


def test_what_a_dead_worker_made_of_an_erased_photo_is_shared_with_nobody(bench: Bench) -> None:  # noqa: F811
    """Its record is there, and so is the erasure: the same photo, uploaded again, is restored anew."""
    world = bench.world
    before = world.documents()
    world.restore(bench.decision)
    world.store.put("results", keys.result(bench.receipt.task_id or ""), b"png", "image/png")
    left = {key: world.store.read("results", key) for key in world.store.keys("results") if key not in before}
    take_back(bench, Code.ERASED)
    for key, data in left.items():
        world.store.put("results", key, data, "application/json")
    again = world.upload("b.png", photo())
    assert (again.kind, again.task_id) == ("queued", bench.receipt.task_id)
    bench.delivery.body = world.tasks()[-1].encode()
    assert isinstance(bench.prepare.begin(bench.delivery), Job)  # type: ignore[arg-type]
    assert not [key for key in world.store.keys("results") if key.startswith("processed/")]
