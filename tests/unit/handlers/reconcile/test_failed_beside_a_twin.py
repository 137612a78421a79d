"""One upload of a photo failed, another upload of it was restored: each keeps the end
that it had.
"""

from __future__ import annotations

import pytest

from gpu_worker.pipeline.job import Job
from handlers.http.api import state
from handlers.webhooks.payload import call_of
from shared.errors import Code, PermanentError
from shared.uploads import events, keys
from shared.uploads.documents import Reason
from tests.support.upload_world import photo
from tests.support.worker_rig import WorkerRig

ASKED = {"callback": "https://example.com/hook"}


@pytest.fixture
def rig() -> WorkerRig:
    return WorkerRig()


@pytest.fixture
def sent_twice(rig: WorkerRig) -> WorkerRig:
    """Overwritten before its turn it failed; its twin was restored; then its message
    came once more.
    """
    rig.decision = rig.world.upload("b.png", photo(colour=7), ASKED)
    rig.receipt = rig.world.receipt(rig.decision)
    rig.delivery.body = rig.world.tasks()[-1].encode()
    rig.outcomes.attempt_failed(
        rig.begin(), PermanentError(Code.SOURCE_CHANGED, "overwritten")
    )
    rig.world.restore(rig.world.upload("c.png", photo(colour=7)))
    return rig


def test_its_message_that_comes_again_changes_nothing(sent_twice: WorkerRig) -> None:
    assert sent_twice.try_to_begin() is None
    ends = [
        event.kind
        for event in sent_twice.world.log()
        if event.upload_id == sent_twice.decision.upload_id
    ]
    assert ends == ["queued", "failed"]
    assert (sent_twice.delivery.acked, sent_twice.progress()) == (1, None)


def test_api_callback_and_rebuild_say_what_the_audit_log_says(
    sent_twice: WorkerRig,
) -> None:
    ctx, receipt = sent_twice.world.ctx, sent_twice.receipt
    assert state.of_receipt(ctx, receipt).status == "failed"
    outcome = ctx.uploads.outcome(receipt)
    told = events.of_upload(receipt, outcome, "results")
    assert [event.kind for event in told] == ["queued", "failed"]
    call = call_of(ctx, receipt.upload_id)
    assert call is not None
    assert (call.status, b'"source_changed"' in call.body) == ("failed", True)


def test_the_end_of_an_earlier_upload_at_its_key_is_not_its_own(rig: WorkerRig) -> None:
    """A worker was late with it: API and callback know that the later one waits."""
    world = rig.world
    earlier = world.receipt(world.upload("b.png", photo(colour=7), ASKED))
    world.clock.advance(60)
    receipt = world.receipt(world.upload("b.png", photo(colour=7), ASKED))
    late = Reason(
        upload_id=receipt.upload_id,
        task_id=receipt.task_id,
        status="failed",
        source=earlier.source,
        error_code=Code.DECODE_ERROR,
        error_detail="late",
        at=world.clock.now(),
    )
    world.store.put(
        "quarantine",
        keys.reason(receipt.upload_id),
        late.to_bytes(),
        "application/json",
    )
    assert state.of_receipt(world.ctx, receipt).status == "queued"
    assert call_of(world.ctx, receipt.upload_id) is None


def test_the_twin_of_a_photo_that_did_not_fail_shares_its_result(
    rig: WorkerRig,
) -> None:
    rig.world.restore(rig.world.upload("twin.png", photo()))
    assert not isinstance(rig.try_to_begin(), Job)
    assert rig.world.log()[-1].kind == "duplicate"
    assert state.of_receipt(rig.world.ctx, rig.receipt).status == "duplicate"
