"""What the store does not give, or does not take, while a worker begins a photo, renews
its claim or ends it.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest

from gpu_worker.pipeline.job import Job
from shared.errors import Code, ObjectUnreadable, PermanentError
from shared.uploads import claims, keys
from shared.uploads.claims import AttemptsExhausted
from tests.support.refusals import BROKEN, FORBIDDEN, KMS_DISABLED, WANTS_A_KEY, Refusal
from tests.support.upload_world import photo
from tests.support.waiting import eventually
from tests.unit.gpu_worker.pipeline.test_lease_renewal import Bench, bench  # noqa: F401

NO_PICTURE = PermanentError(Code.DECODE_ERROR, "no picture in it")


@pytest.mark.parametrize("refusal", [KMS_DISABLED, WANTS_A_KEY, BROKEN])
def test_the_reason_stands_without_a_copy(bench: Bench, refusal: Refusal) -> None:
    job, source = bench.begin(), bench.receipt.source
    bench.world.put("other.png", photo(colour=3))
    bench.world.store.refuse(source.bucket, source.key, refusal)
    bench.outcomes.attempt_failed(job, NO_PICTURE)
    assert bench.world.reason(bench.decision).error_code == Code.DECODE_ERROR
    assert bench.world.store.keys("quarantine") == (
        keys.reason(bench.receipt.upload_id),
    )
    assert bench.progress() is None


def test_an_end_that_the_store_refuses_is_no_end_of_the_worker(bench: Bench) -> None:
    """Of a task whose attempts are used up: the message is done with, the sweep calls
    for it again.
    """
    bench.world.store.refuse(
        "quarantine", keys.reason(bench.receipt.upload_id), WANTS_A_KEY, "PUT"
    )
    spent = AttemptsExhausted(5, Code.ATTEMPTS_EXHAUSTED, "5 attempts failed")
    bench.outcomes.exhausted(bench.delivery, bench.receipt, spent)  # type: ignore[arg-type]
    assert (bench.delivery.acked, bench.delivery.code) == (1, "")


def test_a_claim_that_the_store_refuses_makes_no_other_late(bench: Bench) -> None:
    refused = bench.begin()
    bench.decision = bench.world.upload("b.png", photo(colour=4))
    bench.receipt = bench.world.receipt(bench.decision)
    bench.delivery.body = bench.world.tasks()[-1].encode()
    good = bench.begin()
    bench.world.store.refuse(
        "results", keys.claim(refused.task.task_id, 1), WANTS_A_KEY, "PUT"
    )
    refused.progress = good.progress = 0.5
    bench.renewer.renew([refused, good])
    assert bench.progress() == 0.5


def test_a_claim_about_which_the_store_is_silent_makes_no_other_late(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is renewed beside the others, and not once more while that has not ended."""
    silent, answer, put = bench.begin(), threading.Event(), bench.world.store.put
    bench.decision = bench.world.upload("b.png", photo(colour=4))
    bench.receipt = bench.world.receipt(bench.decision)
    bench.delivery.body = bench.world.tasks()[-1].encode()
    good, asked = bench.begin(), []

    def put_in_time(bucket: str, key: str, *rest: Any) -> Any:
        if key == keys.claim(silent.task.task_id, 1):
            asked.append(key)
            answer.wait()
        return put(bucket, key, *rest)

    monkeypatch.setattr("gpu_worker.pipeline.lease_renewal.EVERY_S", 0.01)
    monkeypatch.setattr(bench.world.store, "put", put_in_time)
    try:
        for progress in (0.25, 0.5):
            silent.progress = good.progress = progress
            eventually(
                lambda: (
                    bench.renewer.renew([silent, good])
                    or bench.progress() == good.progress
                ),
                "a renewal",
            )
    finally:
        answer.set()
    assert asked == [keys.claim(silent.task.task_id, 1)]


def test_an_end_stands_although_its_claim_cannot_be_deleted(bench: Bench) -> None:
    """Nothing counts as a failure after that; the sweep clears the claim away."""
    job = bench.begin()
    bench.world.store.refuse(
        "results", keys.claim(job.task.task_id, 1), FORBIDDEN, "DELETE"
    )
    bench.outcomes.attempt_failed(job, NO_PICTURE)
    assert bench.world.reason(bench.decision).error_code == Code.DECODE_ERROR
    assert bench.delivery.code == Code.DECODE_ERROR


def test_a_reason_that_cannot_be_read_is_none(bench: Bench) -> None:
    """The photo is begun, and its end is written."""
    bench.world.store.refuse(
        "quarantine", keys.reason(bench.receipt.upload_id), BROKEN, "GET", "HEAD"
    )
    bench.world.store.put("quarantine", "other/reason.json", b"{}", "application/json")
    job = bench.begin()
    bench.renewer.renew([job])
    bench.outcomes.attempt_failed(job, NO_PICTURE)
    bench.world.store.allow()
    assert bench.world.reason(bench.decision).error_code == Code.DECODE_ERROR


def test_a_record_that_cannot_be_read_costs_attempts(bench: Bench) -> None:
    """Each is counted and backs off; the last is the end."""
    world, task_id = bench.world, bench.receipt.task_id or ""
    world.store.refuse("results", keys.record(task_id), BROKEN, "GET")
    limits = bench.ctx.settings
    for attempt in range(1, limits.max_attempts):
        assert not isinstance(bench.try_to_begin(), Job)
        claim = claims.latest(world.store, "results", task_id)
        assert claim is not None
        assert (claim.number, claim.note.state) == (attempt, "failed")
        assert claim.note.error_code == Code.SOURCE_UNREADABLE
        world.clock.advance(limits.retry_cap_s)
    assert not isinstance(bench.try_to_begin(), Job)
    reason = world.reason(bench.decision)
    assert (reason.error_code, reason.attempts) == (
        Code.SOURCE_UNREADABLE,
        limits.max_attempts,
    )


def test_a_receipt_that_cannot_be_read_is_left_to_the_sweep(bench: Bench) -> None:
    """`Worker` lets the message go; no claim was taken."""
    bench.world.upload("b.png", photo(colour=4))
    bench.world.store.refuse(
        "results", keys.receipt(bench.receipt.upload_id), BROKEN, "GET"
    )
    with pytest.raises(ObjectUnreadable):
        bench.try_to_begin()
    assert bench.progress() is None
