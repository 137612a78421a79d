"""Photos in a worker's hands: left alone while the claim lives, called again when it
ran out or a try is due.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from handlers.processes.sweeper import Loop
from handlers.reconcile.due_retries import DueRetries
from shared.errors import NotFound
from shared.s3.store import ObjectInfo, ObjectStore
from shared.uploads import keys
from tests.support.reconcile_world import LEASE_S, Town, photo
from tests.support.refusals import FORBIDDEN
from tests.support.waiting import eventually


@pytest.fixture
def town() -> Town:
    return Town()


def test_a_photo_in_work_is_left_alone(town: Town) -> None:
    """Its message is in a worker's hands, not in the queue; the claim, which is
    renewed, says so.
    """
    upload = town.upload("a.png")
    town.lose()
    claim = town.claim(upload)
    for _ in range(5):
        town.later(LEASE_S - 5)
        town.claims().renew(claim)
        report = town.sweep()
        assert (report.republished, report.retried) == (0, 0)


def test_what_a_worker_holds_ready_is_left_alone(town: Town) -> None:
    """It has one photo in work and two more in hand; a fourth, whose message was lost,
    is told from these.
    """
    uploads = []
    for name in "abcd":
        uploads.append(town.upload(f"{name}.png"))
        town.later(2)
    town.take(3)
    claim = town.claim(uploads[0])
    for _ in range(3):
        town.later(LEASE_S - 5)
        town.claims().renew(claim)
        assert town.sweep().republished == 0
    town.lose()
    assert town.sweep().republished == 1
    town.later(LEASE_S - 5)
    town.claims().renew(claim)
    assert town.sweep().republished == 0


def test_a_dead_workers_photo_is_called_once(town: Town) -> None:
    """The claim ran out: published, marked, and not again while that message waits; if
    it is lost, it is again.
    """
    upload = town.upload("a.png")
    town.lose()
    town.claim(upload)
    town.later()
    report = town.sweep()
    assert (report.retried, report.republished) == (1, 0)
    assert town.messages() == [upload]
    town.later()
    report = town.sweep()
    assert (report.retried, report.republished) == (0, 0)
    town.lose()
    assert town.sweep().republished == 1
    assert town.claim(upload, "w2").note.crashes == 1


def test_a_failed_try_is_called_when_it_is_due(town: Town) -> None:
    """Not before its wait is over, by the store's clock, and even if the photo is
    otherwise young.
    """
    upload = town.upload("a.png")
    town.lose()
    town.claims().fail(town.claim(upload), RuntimeError("flaky"), wait_s=10)
    town.later(9)
    assert town.sweep().retried == 0
    town.later(1)
    assert town.sweep().retried == 1
    assert town.messages() == [upload]


def test_a_due_try_of_an_ended_photo_is_not_called(town: Town) -> None:
    """The worker died after the record was written, before it gave up its claim; the
    claim goes, and what was done so far.
    """
    upload = town.upload("a.png")
    town.lose()
    claim = town.claim(upload)
    draft = keys.draft(claim.task_id)
    town.store.put("results", draft, b"webp", "image/webp")
    town.restore(upload)
    town.later()
    report = town.sweep()
    assert (report.retried, report.republished, report.claims_deleted) == (0, 0, 1)
    for key in (keys.claim(claim.task_id, 1), draft):
        with pytest.raises(NotFound):
            town.store.head("results", key)


def test_claims_of_photos_that_wait_are_kept(town: Town) -> None:
    """They count the attempts, however old they are."""
    upload = town.upload("a.png")
    town.lose()
    claim = town.claim(upload)
    for _ in range(3):
        town.later(3600)
        assert town.sweep().claims_deleted == 0
    town.store.head("results", keys.claim(claim.task_id, 1))


class SlowStore:
    """Holds whoever lists in it until `release`."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.asked, self.release = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def list(
        self, bucket: str, prefix: str = "", start_after: str = ""
    ) -> Iterator[ObjectInfo]:
        self.asked.set()
        self.release.wait()
        return self._store.list(bucket, prefix, start_after)


def test_the_loop_that_works_is_the_one_that_beats(town: Town) -> None:
    """What a pass does with the claims is no sign of life of the loop beside it."""
    looks = Loop(town.ctx)
    passes = Loop(town.ctx, beside=looks)
    for works, other, name in ((passes, looks, "a.png"), (looks, passes, "b.png")):
        town.claim(town.upload(name))
        works.pulse.beat()
        other.pulse.beat()
        town.later(100)
        assert works.retries.publish_due() == 1
        assert (works.pulse.quiet_s(), other.pulse.quiet_s()) == (0, 100)


def test_a_loop_that_waits_for_the_other_is_at_rest(town: Town) -> None:
    """However long that one takes: it shows signs of life itself, or is the one that
    hangs.
    """
    slow = SlowStore(town.store)
    looks = Loop(replace(town.ctx, store=cast(ObjectStore, slow)))
    passes = Loop(town.ctx, beside=looks)
    looks.pulse.beat()
    passes.pulse.beat()
    threads = [
        threading.Thread(target=loop.retries.latest_claims) for loop in (looks, passes)
    ]
    threads[0].start()
    try:
        assert slow.asked.wait(60)
        town.clock.advance(200)
        threads[1].start()
        eventually(lambda: passes.pulse.quiet_s() == 0, "a rest")
        assert looks.pulse.quiet_s() == 200
    finally:
        slow.release.set()
        threads[0].join()
    threads[1].join()


@pytest.mark.parametrize("after", ["failed", "erased", "another task"])
def test_a_claim_that_outlives_its_upload_shields_no_twin(
    town: Town, after: str
) -> None:
    """A worker died between an upload's end and its claim's; the message of the task's
    other upload was lost, too.
    """
    data = photo(1)
    first, twin = town.upload("a.png", data), town.upload("b.png", data)
    town.claim(first)
    if after == "failed":
        town.fail(first)
    elif after == "erased":
        town.store.delete("results", keys.receipt(first))
        town.store.delete("uploads", "a.png")
    else:
        town.upload("a.png", data, {"workflow": "anime"})
    town.lose()
    for _ in range(3):
        town.later()
        town.sweep()
    assert town.messages().count(twin) == 1
    assert not [
        key
        for key in town.store.keys("results")
        if key.startswith(keys.claims(town.receipt(twin).task_id or ""))
    ]
    for _ in range(2):
        town.later()
        town.sweep()
    assert town.messages().count(twin) == 1


def test_a_claim_that_a_worker_goes_on_from_is_not_dropped(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It began the next attempt between two looks of the sweep."""
    data = photo(1)
    first, twin = town.upload("a.png", data), town.upload("b.png", data)
    town.claim(first)
    town.fail(first)
    town.later()
    read, task = town.store.read, town.receipt(first).task_id or ""

    def begins(bucket: str, key: str, version: str | None = None) -> bytes:
        if key == keys.receipt(first):
            town.claims("w2").acquire(task, twin)
        return read(bucket, key, version)

    calls = DueRetries(town.ctx)
    monkeypatch.setattr(town.store, "read", begins)
    calls.publish_due()
    held = [key for key in town.store.keys("results") if key.startswith("claims/")]
    assert [key.rpartition("/")[2] for key in held] == ["0001.json", "0002.json"]


def test_a_claim_that_cannot_be_marked_is_called_again_ever_later(town: Town) -> None:
    """It is published before it is marked; a message at each look would fill the queue."""
    claim = town.claim(town.upload("a.png"))
    town.lose()
    town.later()
    town.store.refuse("results", keys.claim(claim.task_id, 1), FORBIDDEN, "PUT")
    calls = DueRetries(town.ctx)
    for _ in range(50):
        calls.publish_due()
        town.clock.advance(2)
    assert 2 <= len(town.messages()) <= 8
    town.store.allow()
    town.later(town.ctx.settings.retry_cap_s)
    assert (calls.publish_due(), calls.publish_due()) == (1, 0)


def test_a_claim_that_cannot_be_read_is_told_of_ever_more_rarely(town: Town) -> None:
    """It is called as soon as it is read again."""
    claim = town.claim(town.upload("a.png"))
    town.lose()
    town.later()
    town.store.refuse("results", keys.claim(claim.task_id, 1), FORBIDDEN)
    calls = DueRetries(town.ctx)
    with capture_logs() as lines:
        for _ in range(100):
            assert calls.publish_due() == 0
            town.clock.advance(2)
    told = [line for line in lines if line["event"] == "sweep.object_failed"]
    assert 2 <= len(told) <= 12
    town.store.allow()
    town.later(town.ctx.settings.retry_cap_s)
    assert calls.publish_due() == 1
