"""What a worker does beside the work: leases with the progress of each photo, and
photos that their owners take back.
"""

from __future__ import annotations

from datetime import datetime

import pytest

from gpu_worker.pipeline.beside import Asked
from gpu_worker.pipeline.job import Job
from gpu_worker.pipeline.lease_renewal import EVERY_S
from gpu_worker.pipeline.prepare import fetch
from shared.errors import Code, PermanentError
from shared.uploads import keys
from tests.support.upload_world import photo
from tests.support.worker_rig import FakeDelivery, WorkerRig

NO_PICTURE = PermanentError(Code.DECODE_ERROR, "no picture in it")


@pytest.fixture
def rig() -> WorkerRig:
    return WorkerRig()


def renewed_at(rig: WorkerRig, job: Job) -> datetime:
    key = keys.claim(job.task_id, 1)
    return rig.world.store.head("results", key).last_modified


def test_the_claim_says_how_far_the_photo_is(rig: WorkerRig) -> None:
    """It is written when that changed, else only when the lease wants it."""
    job = rig.begin()
    rig.world.clock.advance(EVERY_S)
    job.progress = 0.25
    rig.renewer.renew([job])
    assert rig.progress() == 0.25
    written = renewed_at(rig, job)
    rig.world.clock.advance(2)
    rig.renewer.renew([job])
    assert renewed_at(rig, job) == written
    rig.world.clock.advance(rig.ctx.settings.lease_s / 3)
    rig.renewer.renew([job])
    assert renewed_at(rig, job) > written


def test_a_claim_that_was_just_made_is_not_renewed(rig: WorkerRig) -> None:
    """A small photo is done before its progress is worth a request."""
    job = rig.begin()
    made = renewed_at(rig, job)
    rig.world.clock.advance(EVERY_S / 2)
    job.progress = 1.0
    rig.renewer.renew([job])
    assert renewed_at(rig, job) == made
    rig.world.clock.advance(EVERY_S / 2)
    rig.renewer.renew([job])
    assert renewed_at(rig, job) > made


def test_a_claim_that_was_given_up_does_not_come_back(rig: WorkerRig) -> None:
    job = rig.begin()
    rig.fail(job, NO_PICTURE)
    job.progress = 0.5
    rig.renewer.renew([job])
    assert rig.progress() is None


def test_a_cancelled_photo_is_not_begun(rig: WorkerRig) -> None:
    rig.cancel()
    assert rig.try_to_begin() is None
    assert rig.settled == (1, "")
    assert rig.progress() is None


@pytest.mark.parametrize("redelivered", [False, True])
def test_a_photo_that_failed_is_not_tried_again(
    rig: WorkerRig, redelivered: bool
) -> None:
    """Another message of it was under way. What its worker may have died before is made
    good.
    """
    rig.fail(rig.begin(), NO_PICTURE)
    events = len(rig.world.log())
    rig.delivery = FakeDelivery(rig.delivery.body)
    rig.delivery.redelivered = redelivered
    assert rig.try_to_begin() is None
    assert rig.delivery.code == (Code.DECODE_ERROR if redelivered else "")
    assert len(rig.world.log()) == events + redelivered
    assert rig.progress() is None
    assert rig.error_code() == Code.DECODE_ERROR


def test_a_cancellation_is_noticed_during_the_work(rig: WorkerRig) -> None:
    """The end stays the owner's: no other reason, no dead letter, no claim."""
    job = rig.begin()
    rig.world.clock.advance(rig.ctx.settings.lease_s / 2)
    rig.renewer.renew([job])
    assert not job.withdrawn
    rig.cancel()
    rig.world.clock.advance(rig.ctx.settings.lease_s)
    rig.renewer.renew([job])
    assert job.withdrawn
    rig.fail(job, PermanentError(Code.CANCELLED, "the owner cancelled the upload"))
    assert rig.error_code() == Code.CANCELLED
    assert rig.settled == (1, "")
    assert rig.progress() is None


def test_an_erased_original_is_no_missing_source(rig: WorkerRig) -> None:
    """The worker that looks for it finds the erasure, and adds nothing to it."""
    job = rig.begin()
    rig.erase()
    job.original = Asked(lambda: fetch(rig.world.store, rig.receipt.source))
    with pytest.raises(PermanentError) as caught:
        rig.prepare(job)
    rig.fail(job, caught.value)
    assert rig.error_code() == Code.ERASED
    assert rig.delivery.code == ""


def test_the_same_bytes_put_again_are_wanted(rig: WorkerRig) -> None:
    """A cancelled upload stays cancelled however often its event comes; a later upload
    starts anew.
    """
    rig.cancel()
    rig.world.clock.advance(60)
    again = rig.world.upload("a.png", photo())
    assert (again.kind, again.repeated) == ("queued", False)
    receipt = rig.world.receipt(again)
    assert not rig.ctx.uploads.is_withdrawn(receipt)
