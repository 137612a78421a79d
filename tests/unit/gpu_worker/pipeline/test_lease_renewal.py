"""What a worker does beside the work: claims that tell how far it is, and photos that
their owners took back.
"""

from __future__ import annotations

from typing import Any, cast

import pytest

from gpu_worker.pipeline.begin import Begin, Later
from gpu_worker.pipeline.context import Context
from gpu_worker.pipeline.job import Job
from gpu_worker.pipeline.lease_renewal import LeaseRenewer
from gpu_worker.pipeline.outcome import Outcomes
from gpu_worker.pipeline.prepare import Prepare
from handlers.http.api import cancel_and_erase
from shared.broker import topology
from shared.errors import Code, PermanentError
from shared.uploads import claims, keys
from shared.uploads.claims import Claims
from shared.uploads.documents import Receipt
from tests.support.upload_world import World, photo


class Delivery:
    queue = topology.BULK
    redelivered = False

    def __init__(self, body: bytes) -> None:
        self.body, self.acked, self.code = body, 0, ""

    def ack(self) -> None:
        self.acked += 1

    def dead(self, code: str, _detail: str) -> None:
        self.code = code


class Bench:
    """A worker's first stage, in memory, and one photo that waits for it."""

    def __init__(self) -> None:
        self.world = World()
        self.decision = self.world.upload("a.png", photo())
        self.receipt: Receipt = self.world.receipt(self.decision)
        ctx = self.world.ctx
        self.ctx = Context(
            ctx.settings,
            ctx.store,
            ctx.publisher,
            Claims(ctx.store, ctx.settings, "w"),
            ctx.clock,
        )  # type: ignore[arg-type]
        self.outcomes = Outcomes(self.ctx)
        self.prepare = Prepare(self.ctx, cast(Any, None))
        self._begin = Begin(self.ctx, self.outcomes, lambda _: True)
        self.renewer = LeaseRenewer(self.ctx)
        (task,) = [
            sent.body
            for sent in self.world.publisher.sent
            if sent.queue in topology.RESTORE
        ]
        self.delivery = Delivery(task)

    def begin(self) -> Job:
        job = self.try_to_begin()
        assert isinstance(job, Job)
        return job

    def try_to_begin(self) -> Job | Later | None:
        return self._begin(cast(Any, self.delivery))

    def cancel(self) -> None:
        assert self.receipt.task_id
        cancel_and_erase.cancel(self.world.ctx, self.receipt.task_id, [self.receipt])

    def progress(self) -> float | None:
        assert self.receipt.task_id
        claim = claims.latest(self.world.store, "results", self.receipt.task_id)
        return claim.note.progress if claim else None


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    # no pixels here, and no process for them
    monkeypatch.setattr("gpu_worker.codec.Decoder", lambda _: None)
    return Bench()


def test_the_claim_tells_how_far_the_photo_is(bench: Bench) -> None:
    """Written when it changed, else only when the lease wants it."""
    job = bench.begin()
    bench.renewer.renew([job])
    job.progress = 0.25
    bench.renewer.renew([job])
    assert bench.progress() == 0.25
    written = bench.world.store.head(
        "results", keys.claim(job.task.task_id, 1)
    ).last_modified
    bench.world.clock.advance(2)
    bench.renewer.renew([job])
    assert (
        bench.world.store.head("results", keys.claim(job.task.task_id, 1)).last_modified
        == written
    )
    bench.world.clock.advance(bench.ctx.settings.lease_s / 3)
    bench.renewer.renew([job])
    assert (
        bench.world.store.head("results", keys.claim(job.task.task_id, 1)).last_modified
        > written
    )


def test_a_claim_that_was_given_up_does_not_come_back(bench: Bench) -> None:
    job = bench.begin()
    bench.outcomes.attempt_failed(job, PermanentError(Code.DECODE_ERROR, "no"))
    job.progress = 0.5
    bench.renewer.renew([job])
    assert bench.progress() is None


def test_a_cancelled_photo_is_not_begun(bench: Bench) -> None:
    bench.cancel()
    assert bench.try_to_begin() is None
    assert (bench.delivery.acked, bench.delivery.code) == (1, "")
    assert bench.progress() is None


@pytest.mark.parametrize("redelivered", [False, True])
def test_a_photo_that_was_set_aside_stays_so(bench: Bench, redelivered: bool) -> None:
    """Another message of it was under way. What its worker may have died before is made
    good, and it is not tried.
    """
    bench.outcomes.attempt_failed(
        bench.begin(), PermanentError(Code.DECODE_ERROR, "no")
    )
    told = len(bench.world.log())
    bench.delivery = Delivery(bench.delivery.body)
    bench.delivery.redelivered = redelivered
    assert bench.try_to_begin() is None
    assert bench.delivery.code == (Code.DECODE_ERROR if redelivered else "")
    assert len(bench.world.log()) == told + redelivered
    assert bench.progress() is None
    assert bench.world.reason(bench.decision).error_code == Code.DECODE_ERROR


def test_a_photo_in_work_hears_that_it_was_cancelled(bench: Bench) -> None:
    """Its end stays the owner's: no other reason, no dead letter, no claim."""
    job = bench.begin()
    bench.renewer.renew([job])
    assert not job.withdrawn
    bench.cancel()
    bench.world.clock.advance(bench.ctx.settings.lease_s)
    bench.renewer.renew([job])
    assert job.withdrawn
    bench.outcomes.attempt_failed(
        job, PermanentError(Code.CANCELLED, "its owner took it back")
    )
    assert bench.world.reason(bench.decision).error_code == Code.CANCELLED
    assert (bench.delivery.acked, bench.delivery.code, bench.progress()) == (
        1,
        "",
        None,
    )


def test_an_erased_original_is_no_missing_source(bench: Bench) -> None:
    """The worker that looks for it finds the erasure, and adds nothing to it."""
    job = bench.begin()
    assert bench.receipt.task_id
    cancel_and_erase.erase(bench.world.ctx, bench.receipt.task_id, [bench.receipt])
    with pytest.raises(PermanentError) as caught:
        bench.prepare(job)
    bench.outcomes.attempt_failed(job, caught.value)
    assert bench.world.reason(bench.decision).error_code == Code.ERASED
    assert bench.delivery.code == ""


def test_the_same_bytes_put_again_are_wanted(bench: Bench) -> None:
    """A cancelled upload stays cancelled however often its event comes; a later upload
    starts anew.
    """
    bench.cancel()
    # another photo: not touched by the cancellation
    event = bench.world.put("other.png", photo(colour=1))
    assert event
    bench.world.clock.advance(60)
    again = bench.world.upload("a.png", photo())
    assert (again.kind, again.repeated) == ("queued", False)
    assert not bench.ctx.uploads.is_withdrawn(bench.world.receipt(again))
