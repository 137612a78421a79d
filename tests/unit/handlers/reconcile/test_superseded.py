"""The same bytes put again at the same key share the id of the upload before them, and
nothing else.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from handlers.audit_log.columns import Row
from handlers.http.api import cancel_and_erase, state
from handlers.http.api.ownership import Ownership
from handlers.http.auth.principal import SCOPES, Principal
from handlers.http.problems import Problem
from shared.errors import Code
from shared.uploads import identity, keys
from shared.uploads.documents import Receipt, Superseded
from tests.support.upload_world import PEPPER, World, photo
from tests.support.worker_rig import WorkerRig

SCALE_2 = {"params": '{"scale": 2}'}


class Log:
    """Of the audit log, the rows of a task."""

    def __init__(self, world: World) -> None:
        self._world = world

    def archived(self, _task_id: str) -> list[str]:
        return []

    def page(self, where: Any, _limit: int) -> list[Row]:
        events = (
            []
            if where.after
            else [
                event for event in self._world.log() if event.task_id == where.task_id
            ]
        )
        return [
            Row.model_validate(event.model_dump() | {"status": event.kind})
            for event in events
        ]


@pytest.fixture
def rig() -> WorkerRig:
    return WorkerRig()


@pytest.fixture
def world() -> World:
    return World()


def caller(user: str) -> Principal:
    return Principal(identity.user_hash(user, PEPPER), False, SCOPES, user)


def belongings(world: World) -> Ownership:
    log: Any = Log(world)
    return Ownership(world.ctx, log)


def put(
    world: World, user: str = "ann", seconds: float = 60, **metadata: str
) -> Receipt:
    """The same photo at the same key once more, `seconds` after the last."""
    world.clock.advance(seconds)
    decision = world.upload("a.png", photo(), {"user": user, **metadata})
    assert not decision.repeated
    return world.receipt(decision)


def test_the_earlier_one_is_still_its_owners(world: World) -> None:
    """Somebody else's photo took its place: nobody sees what is not his."""
    anns, bobs = put(world), put(world, "bob")
    assert anns.upload_id == bobs.upload_id
    found = belongings(world).every(caller("ann"), UUID(anns.task_id))
    assert found == [Superseded.of(anns)]
    assert belongings(world).every(caller("bob"), UUID(bobs.task_id)) == [bobs]
    for user, task in (("bob", anns.task_id), ("ann", bobs.task_id)):
        with pytest.raises(Problem):
            belongings(world).one(caller(user), UUID(task))


def test_the_erasure_of_the_earlier_one_leaves_the_later_alone(world: World) -> None:
    anns = put(world)
    world.store.put("results", keys.result(anns.task_id or ""), b"png", "image/png")
    bobs = put(world, "bob")
    found = belongings(world).every(caller("ann"), UUID(anns.task_id))
    cancel_and_erase.erase(world.ctx, anns.task_id or "", found)
    assert world.store.read("uploads", "a.png") == photo()
    assert [info.key for info in world.store.list("results", "processed/")] == []
    assert state.of_receipt(world.ctx, bobs).status == "queued"
    fault = state.of_receipt(
        world.ctx, world.ctx.uploads.superseded(anns.upload_id)[0]
    ).fault
    assert fault
    assert fault.error_code == Code.ERASED
    assert world.log()[-1].fields["error_code"] == "erased"


def test_the_erasure_of_the_later_one_leaves_another_users_alone(world: World) -> None:
    anns = put(world)
    world.store.put("results", keys.result(anns.task_id or ""), b"png", "image/png")
    bobs = put(world, "bob")
    cancel_and_erase.erase(world.ctx, bobs.task_id or "", [bobs])
    assert world.store.keys("uploads") == ()
    assert world.store.read("results", keys.result(anns.task_id or "")) == b"png"
    assert world.ctx.uploads.superseded(anns.upload_id) == [Superseded.of(anns)]


def test_the_earlier_owner_takes_no_later_bytes_along(world: World) -> None:
    """Before the later upload was looked at: its event is on its way."""
    anns = put(world)
    world.clock.advance(60)
    world.put("a.png", photo(), {"user": "bob"})
    cancel_and_erase.erase(world.ctx, anns.task_id or "", [anns])
    assert world.store.read("uploads", "a.png") == photo()


def test_what_waits_no_more_says_so(world: World) -> None:
    put(world, **SCALE_2)
    put(world)
    (earlier,) = world.ctx.uploads.superseded(world.log()[-1].upload_id)
    assert state.of_receipt(world.ctx, earlier).status == "failed"


def test_what_earlier_releases_wrote_over_is_found_by_its_record(world: World) -> None:
    anns = put(world)
    world.restore(world.upload("a.png", photo(), {"user": "ann"}))
    later = put(world, **SCALE_2)
    for info in list(world.store.list("results", keys.earlier(anns.upload_id))):
        world.store.delete("results", info.key)
    (found,) = belongings(world).every(caller("ann"), UUID(anns.task_id))
    assert isinstance(found, Superseded)
    cancel_and_erase.erase(world.ctx, anns.task_id or "", [found])
    assert keys.record(anns.task_id or "") not in world.store.keys("results")
    assert state.of_receipt(world.ctx, later).status == "queued"


def test_a_photo_whose_receipt_is_lost_is_erased_by_its_record(world: World) -> None:
    anns = put(world)
    world.restore(world.upload("a.png", photo(), {"user": "ann"}))
    world.store.delete("results", keys.receipt(anns.upload_id))
    found = belongings(world).every(caller("ann"), UUID(anns.task_id))
    cancel_and_erase.erase(world.ctx, anns.task_id or "", found)
    assert world.store.keys("uploads") == ()


@pytest.mark.parametrize(
    "asked",
    [
        {"user": "bob"},
        {"priority": "interactive"},
        {"callback": "https://example.com/"},
        SCALE_2,
    ],
)
def test_other_wishes_in_the_same_second_are_another_upload(
    world: World, asked: dict[str, str]
) -> None:
    """Object times come in whole seconds. A repeated event, though, is of the same
    upload.
    """
    first = put(world)
    second = put(world, seconds=0.1, **asked)
    assert second != first
    world.clock.advance(0.1)
    assert world.upload("a.png", photo(), {"user": "ann"} | asked).repeated


def test_two_of_one_second_are_erased_as_one(world: World) -> None:
    """The log has one row for both."""
    first = put(world)
    world.store.put("results", keys.result(first.task_id or ""), b"1", "image/png")
    second = put(world, seconds=0.1, **SCALE_2)
    world.store.put("results", keys.result(second.task_id or ""), b"2", "image/png")
    cancel_and_erase.erase(
        world.ctx,
        first.task_id or "",
        belongings(world).every(caller("ann"), UUID(first.task_id)),
    )
    assert [info.key for info in world.store.list("results", "processed/")] == []
    assert world.store.keys("uploads") == ()


def test_a_worker_hears_that_the_earlier_one_was_erased(rig: WorkerRig) -> None:
    """It has it in hand, and the later one has the place of the reason."""
    world, earlier = rig.world, rig.receipt
    world.clock.advance(60)
    later = world.receipt(world.upload("a.png", photo(), SCALE_2))
    assert not rig.ctx.uploads.is_withdrawn(earlier)
    cancel_and_erase.erase(
        world.ctx,
        earlier.task_id or "",
        world.ctx.uploads.superseded(earlier.upload_id),
    )
    assert rig.ctx.uploads.is_withdrawn(earlier)
    assert not rig.ctx.uploads.is_withdrawn(later)
