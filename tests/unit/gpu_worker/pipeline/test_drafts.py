"""When what is done so far of a photo is shown, and that it goes again."""

from __future__ import annotations

import threading
from contextlib import suppress

import numpy as np
import pytest

from gpu_worker.photo import Photo, Pixels
from gpu_worker.pipeline.drafts import EVERY_S, FIRST_S, Drafts
from gpu_worker.pipeline.job import Job
from gpu_worker.tile_runner import Placed, ignore
from shared import workflows
from shared.errors import Code, NotFound, PermanentError, StorageUnavailable
from shared.s3.store import ObjectInfo
from shared.uploads import claims, keys
from shared.uploads.claims import DraftNote
from tests.support.memory_store import MemoryStore
from tests.support.upload_world import World, photo
from tests.support.waiting import eventually
from tests.support.worker_rig import WorkerRig

SIDE_PX = 8
CANVAS: Pixels = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
NO_PICTURE = PermanentError(Code.DECODE_ERROR, "no picture in it")


@pytest.fixture
def rig() -> WorkerRig:
    return waiting(World())


def waiting(world: World) -> WorkerRig:
    """Somebody waits for a photo in this world."""
    rig = WorkerRig(world)
    rig.wait_with(world.upload("a.png", photo(), {"priority": "interactive"}))
    return rig


def begun(rig: WorkerRig) -> Job:
    """A photo on the device."""
    job = rig.begin()
    job.photo = Photo(CANVAS)
    job.workflow = workflows.resolve("fast", {})
    return job


def drawing(rig: WorkerRig, job: Job, store: MemoryStore | None = None) -> Placed:
    drafts = Drafts(store or rig.world.store, rig.ctx.settings, rig.world.clock)
    return drafts.of(job)


def place(placed: Placed, row: int) -> None:
    placed(CANVAS, slice(row, row + 1), slice(0, SIDE_PX))


def draw(rig: WorkerRig, job: Job) -> Placed:
    """Have the first draft stored, and the claim tell of it."""
    placed = drawing(rig, job)
    rig.world.clock.advance(FIRST_S)
    place(placed, 0)
    eventually(lambda: job.draft is not None, "the first draft")
    job.progress = 0.5
    rig.renewer.renew([job])
    return placed


def is_stored(rig: WorkerRig) -> bool:
    with suppress(NotFound):
        return bool(rig.world.store.head("results", keys.draft(rig.task_id)))
    return False


def told(rig: WorkerRig) -> DraftNote | None:
    claim = claims.latest(rig.world.store, "results", rig.task_id)
    return claim.note.draft if claim else None


def test_only_a_photo_that_takes_long_has_a_draft(rig: WorkerRig) -> None:
    """And then one now and then, of which the claim tells with its number."""
    job = begun(rig)
    placed = drawing(rig, job)
    place(placed, 0)
    assert not job.is_drafted
    rig.world.clock.advance(FIRST_S)
    place(placed, 1)
    eventually(lambda: job.draft is not None, "the first draft")
    assert is_stored(rig)
    job.progress = 0.5
    rig.renewer.renew([job])
    assert rig.receipt.workflow
    signature = rig.receipt.workflow.signature
    assert told(rig) == DraftNote(number=1, signature=signature)
    place(placed, 2)
    rig.world.clock.advance(EVERY_S)

    def is_second() -> bool:
        place(placed, 3)
        return job.draft is not None and job.draft.number == 2

    eventually(is_second, "the second draft")


def test_nobody_waits_for_a_photo_of_an_album() -> None:
    rig = WorkerRig()
    assert drawing(rig, begun(rig)) is ignore


def test_at_the_end_of_an_attempt_it_goes(rig: WorkerRig) -> None:
    job = begun(rig)
    draw(rig, job)
    rig.fail(job, NO_PICTURE)
    assert not is_stored(rig)


def test_one_that_comes_after_the_end_goes_again(rig: WorkerRig) -> None:
    class SlowStore(MemoryStore):
        """The photo ends while its draft is on its way."""

        def put(self, *args: object, **kwargs: object) -> ObjectInfo:
            rig.fail(job, NO_PICTURE)
            info: ObjectInfo = rig.world.store.put(*args, **kwargs)  # type: ignore[arg-type]
            return info

        def delete(self, bucket: str, key: str, version: str = "") -> None:
            rig.world.store.delete(bucket, key, version)
            deleted.append(key)

    deleted: list[str] = []
    job = begun(rig)
    placed = drawing(rig, job, SlowStore(rig.world.clock))
    rig.world.clock.advance(FIRST_S)
    place(placed, 0)
    eventually(lambda: keys.draft(rig.task_id) in deleted, "the late draft goes")
    assert not is_stored(rig)
    assert job.draft is None


def test_of_a_photo_that_was_erased_none_is_stored(rig: WorkerRig) -> None:
    """The worker notices with the next renewal of its lease alone."""

    class Watched(MemoryStore):
        def __getattribute__(self, name: str) -> object:
            if name == "read":
                looked.append(1)
            return getattr(rig.world.store, name)

    looked: list[int] = []
    job = begun(rig)
    placed = drawing(rig, job, Watched(rig.world.clock))
    rig.erase()
    rig.world.clock.advance(FIRST_S)
    place(placed, 0)
    eventually(lambda: bool(looked), "a draft was due")
    for thread in threading.enumerate():
        if thread.name == "draft":
            thread.join()
    assert not is_stored(rig)
    assert not job.is_drafted


def test_of_a_worker_that_died_the_next_attempt_deletes_it(rig: WorkerRig) -> None:
    draw(rig, begun(rig))
    rig.world.clock.advance(rig.ctx.settings.lease_s + 2)
    job = begun(rig)
    assert job.claim.attempt == 2
    assert told(rig) is not None
    rig.fail(job, NO_PICTURE)
    assert not is_stored(rig)


def test_of_a_photo_that_no_worker_survives_it_goes_too() -> None:
    rig = waiting(World(settings={"max_crashes": 1}))
    draw(rig, begun(rig))
    rig.world.clock.advance(rig.ctx.settings.lease_s + 2)
    assert rig.try_to_begin() is None
    assert rig.settled == (0, Code.WORKER_CRASHED)
    assert not is_stored(rig)


def test_a_photo_does_not_care_whether_its_draft_is_stored(rig: WorkerRig) -> None:
    class NoStore(MemoryStore):
        def put(self, *_: object, **__: object) -> ObjectInfo:
            asked.append(1)
            raise StorageUnavailable("away")

    asked: list[int] = []
    job = begun(rig)
    placed = drawing(rig, job, NoStore(rig.world.clock))
    rig.world.clock.advance(FIRST_S)
    place(placed, 0)
    eventually(lambda: bool(asked), "it was tried")
    place(placed, 1)
    assert job.draft is None
