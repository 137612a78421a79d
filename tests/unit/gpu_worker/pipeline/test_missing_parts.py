"""What becomes of a photo for which a worker lacks a model or a package."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import pytest

from gpu_worker.pipeline.outcome import MISSING_PART, OTHER_WORKER
from gpu_worker.pipeline.prepare import Prepare
from shared.errors import Code, Missing, OtherRelease
from shared.uploads import keys
from shared.uploads.claims import latest
from tests.support.upload_world import World, photo
from tests.support.worker_rig import FakeDelivery, WorkerRig


@pytest.fixture
def rig() -> WorkerRig:
    return WorkerRig()


def refusing(rig: WorkerRig) -> Prepare:
    def check(_: Any) -> None:
        raise Missing("it lacks a model", "run `darkroom models pull it`")

    return Prepare(rig.ctx, cast(Any, None), check)


def refuse(rig: WorkerRig, prepare: Prepare) -> None:
    job = rig.begin()
    with pytest.raises(Missing) as caught:
        prepare(job)
    rig.outcomes.attempt_failed(job, caught.value)


def test_a_worker_that_cannot_leaves_it_to_others(rig: WorkerRig) -> None:
    """However often: no attempt counts, no row of claims is left behind, and the log
    hears nothing of it.
    """
    prepare, task_id = refusing(rig), rig.receipt.task_id or ""
    for number in range(1, 40):
        refuse(rig, prepare)
        claim = latest(rig.world.store, "results", task_id)
        assert claim
        assert (claim.number, claim.note.uncounted_attempts) == (number, number)
        assert (claim.note.crashes, claim.note.error_code) == (0, "model_missing")
        rig.world.clock.advance(301)
    assert (
        len(
            [
                key
                for key in rig.world.store.keys("results")
                if key.startswith(keys.claims())
            ]
        )
        == 2
    )
    assert [event.kind for event in rig.world.log()] == ["queued"]
    job = rig.begin()  # by a worker that can
    assert job.claim.counted_attempts == 1
    rig.ctx.claims.clear(task_id, job.claim.attempt)
    assert not [
        key for key in rig.world.store.keys("results") if key.startswith(keys.claims())
    ]


@pytest.mark.parametrize(
    ("unavailable", "limit"), [("reject", OTHER_WORKER), ("wait", MISSING_PART)]
)
def test_a_photo_is_not_left_to_others_for_ever(
    unavailable: str, limit: timedelta
) -> None:
    """In the end it fails, as what was tried without its model does."""
    own = WorkerRig(World(settings={"unavailable": unavailable}))
    own.upload("a.png", photo())
    prepare = refusing(own)
    own.world.clock.advance(limit.total_seconds() - 60)
    refuse(own, prepare)
    assert own.delivery.code == ""
    own.world.clock.advance(400)
    own.delivery = FakeDelivery(own.delivery.body)
    refuse(own, prepare)
    assert own.delivery.code == Code.MODEL_MISSING
    assert "darkroom models pull it" in own.world.reason(own.decision).error_detail


def test_a_photo_waits_for_a_worker_that_finds_its_workflow(rig: WorkerRig) -> None:
    """One of the installation's own, whose file is not there: no attempt counts."""
    job = rig.begin()
    workflow = job.receipt.workflow
    assert workflow is not None
    own = workflow.model_copy(update={"name": "soft", "version": 3})
    job.receipt = job.receipt.model_copy(update={"workflow": own})
    with pytest.raises(OtherRelease) as caught:
        rig.prepare(job)
    assert "soft version 3" in caught.value.detail
    rig.outcomes.attempt_failed(job, caught.value)
    assert rig.delivery.acked == 1
    assert rig.delivery.code == ""
