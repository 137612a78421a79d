"""What the store does not give, or does not take, while a worker begins a photo, renews
its lease or ends it.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest

from gpu_worker.photo import Photo
from gpu_worker.pipeline.job import Job
from gpu_worker.pipeline.lease_renewal import EVERY_S
from gpu_worker.restore import Restored
from shared.errors import Code, ObjectUnreadable, PermanentError
from shared.uploads import claims, keys
from shared.uploads.claims import AttemptsExhausted
from shared.workflows import resolve
from tests.support.pictures import photo_like
from tests.support.refusals import BROKEN, FORBIDDEN, KMS_DISABLED, WANTS_A_KEY, Refusal
from tests.support.upload_world import photo
from tests.support.waiting import eventually
from tests.support.worker_rig import WorkerRig

NO_PICTURE = PermanentError(Code.DECODE_ERROR, "no picture in it")


@pytest.fixture
def rig() -> WorkerRig:
    return WorkerRig()


def refuse(
    rig: WorkerRig, bucket: str, key: str, refusal: Refusal, *methods: str
) -> None:
    """Refuse one key, and give every other object of the bucket."""
    rig.world.store.put(bucket, "another/reason.json", b"{}", "application/json")
    rig.world.store.refuse(bucket, key, refusal, *methods)


@pytest.mark.parametrize("refusal", [KMS_DISABLED, WANTS_A_KEY, BROKEN])
def test_the_reason_stands_without_a_copy(rig: WorkerRig, refusal: Refusal) -> None:
    job = rig.begin()
    source = rig.receipt.source
    rig.world.put("other.png", photo(colour=3))
    rig.world.store.refuse(source.bucket, source.key, refusal)
    rig.fail(job, NO_PICTURE)
    assert rig.error_code() == Code.DECODE_ERROR
    reason = keys.reason(rig.receipt.upload_id)
    assert rig.world.store.keys("quarantine") == (reason,)
    assert rig.progress() is None


def test_a_png_that_no_store_takes_fails_the_photo(
    rig: WorkerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How large it is shows only once it is there; none of it is sent."""
    monkeypatch.setattr("gpu_worker.restore.MAX_RESULT_BYTES", 100)
    job = rig.begin()
    job.workflow = resolve("fast")
    job.restored = Restored(Photo(photo_like(20, 30)), [], {}, "ncnn", "cpu", 1)
    with pytest.raises(PermanentError, match="no file of more than 100") as raised:
        rig.store_result(job)
    assert raised.value.code == Code.TOO_MANY_PIXELS
    assert keys.result(rig.task_id) not in rig.world.store.keys("results")


def test_an_end_that_the_store_refuses_is_no_end_of_the_worker(rig: WorkerRig) -> None:
    """The attempts of the task are used up: its message is settled, and the sweep
    publishes another.
    """
    key = keys.reason(rig.receipt.upload_id)
    rig.world.store.refuse("quarantine", key, WANTS_A_KEY, "PUT")
    last = AttemptsExhausted(5, Code.ATTEMPTS_EXHAUSTED, "5 attempts failed")
    rig.outcomes.exhausted(rig.given_delivery, rig.receipt, last)
    assert rig.settled == (1, "")


def test_a_claim_that_the_store_refuses_makes_no_other_late(rig: WorkerRig) -> None:
    refused = rig.begin()
    rig.upload("b.png", photo(colour=4))
    good = rig.begin()
    key = keys.claim(refused.task_id, 1)
    rig.world.store.refuse("results", key, WANTS_A_KEY, "PUT")
    rig.world.clock.advance(EVERY_S)
    refused.progress = good.progress = 0.5
    rig.renewer.renew([refused, good])
    assert rig.progress() == 0.5


def test_a_claim_about_which_the_store_is_silent_makes_no_other_late(
    rig: WorkerRig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is renewed beside the others, and not once more while that has not ended."""
    silent = rig.begin()
    rig.upload("b.png", photo(colour=4))
    good = rig.begin()
    key = keys.claim(silent.task_id, 1)
    requests: list[str] = []
    answer, put = threading.Event(), rig.world.store.put

    def put_in_time(bucket: str, name: str, *rest: Any) -> Any:
        if name == key:
            requests.append(name)
            answer.wait()
        return put(bucket, name, *rest)

    def is_renewed() -> bool:
        rig.world.clock.advance(EVERY_S)
        rig.renewer.renew([silent, good])
        return rig.progress() == good.progress

    monkeypatch.setattr("gpu_worker.pipeline.lease_renewal.EVERY_S", 0.01)
    monkeypatch.setattr(rig.world.store, "put", put_in_time)
    try:
        for progress in (0.25, 0.5):
            silent.progress = good.progress = progress
            eventually(is_renewed, "a renewal")
    finally:
        answer.set()
    assert requests == [key]


def test_an_end_stands_although_its_claim_cannot_be_deleted(rig: WorkerRig) -> None:
    """Nothing counts as a failure after that; the sweep clears the claim away."""
    job = rig.begin()
    key = keys.claim(job.task_id, 1)
    rig.world.store.refuse("results", key, FORBIDDEN, "DELETE")
    rig.fail(job, NO_PICTURE)
    assert rig.error_code() == Code.DECODE_ERROR
    assert rig.delivery.code == Code.DECODE_ERROR


def test_a_reason_that_cannot_be_read_is_none(rig: WorkerRig) -> None:
    """The photo is begun, and its end is written."""
    key = keys.reason(rig.receipt.upload_id)
    refuse(rig, "quarantine", key, BROKEN, "GET", "HEAD")
    job = rig.begin()
    rig.world.clock.advance(rig.ctx.settings.lease_s)
    rig.renewer.renew([job])
    rig.fail(job, NO_PICTURE)
    rig.world.store.allow()
    assert rig.error_code() == Code.DECODE_ERROR


def test_a_record_that_cannot_be_read_costs_attempts(rig: WorkerRig) -> None:
    """Each is counted and backs off; the last is the end."""
    store = rig.world.store
    settings = rig.ctx.settings
    store.refuse("results", keys.record(rig.task_id), BROKEN, "GET")
    for attempt in range(1, settings.max_attempts):
        assert not isinstance(rig.try_to_begin(), Job)
        claim = claims.latest(store, "results", rig.task_id)
        assert claim is not None
        assert (claim.number, claim.note.state) == (attempt, "failed")
        assert claim.note.error_code == Code.SOURCE_UNREADABLE
        rig.world.clock.advance(settings.retry_cap_s)
    assert not isinstance(rig.try_to_begin(), Job)
    assert rig.error_code() == Code.SOURCE_UNREADABLE
    assert rig.world.reason(rig.decision).attempts == settings.max_attempts


def test_a_receipt_that_cannot_be_read_is_left_to_the_sweep(rig: WorkerRig) -> None:
    """The loop of the stage settles the message; no claim was made."""
    rig.world.upload("b.png", photo(colour=4))
    key = keys.receipt(rig.receipt.upload_id)
    rig.world.store.refuse("results", key, BROKEN, "GET")
    with pytest.raises(ObjectUnreadable):
        rig.try_to_begin()
    assert rig.progress() is None
