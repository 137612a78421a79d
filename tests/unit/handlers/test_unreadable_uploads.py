"""One upload that the store does not give, at every door of the handlers: nobody waits
behind it, and it has an end.
"""

from __future__ import annotations

import threading

import pytest
from fastapi.testclient import TestClient

from handlers.http.app import build
from handlers.intake.notifications import UploadEvent
from handlers.on_sweep import on_sweep
from handlers.on_upload import on_upload
from handlers.processes.upload_consumer import settle
from shared.broker import topology
from shared.broker.delivery import Settlement
from shared.broker.depth import Backlog
from shared.errors import Code, ObjectUnreadable, StorageUnavailable
from shared.uploads import keys
from tests.support.refusals import (
    ARCHIVED,
    BROKEN,
    CUT,
    FORBIDDEN,
    KMS_DISABLED,
    Refusal,
)
from tests.support.upload_world import World, photo
from tests.unit.handlers.http.test_app import notification
from tests.unit.handlers.processes.test_upload_consumer import Hand

FAULTS = {
    "forbidden": FORBIDDEN,
    "archived": ARCHIVED,
    "no key": KMS_DISABLED,
    "damaged": BROKEN,
    "cut": CUT,
}
ASKED = {"user": "ann", "callback": "https://example.com/hook"}
every_fault = pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())


@pytest.fixture
def world() -> World:
    return World(settings={"webhook_token": "token"})


def bad(
    world: World, fault: Refusal, *methods: str, key: str = "bad.png"
) -> UploadEvent:
    event = world.put(key, photo(colour=9), ASKED)
    world.put("other.png", photo(colour=8))
    world.store.refuse("uploads", key, fault, *methods)
    return event


def late(world: World) -> None:
    """So late that it has been tried for long enough."""
    world.clock.advance(world.ctx.settings.lease_s + world.ctx.settings.retry_cap_s + 1)


@every_fault
@pytest.mark.parametrize(
    "methods", [("GET",), ("GET", "HEAD")], ids=["with a head", "without"]
)
def test_it_ends_when_it_has_lasted_for_long(
    world: World, fault: Refusal, methods: tuple[str, ...]
) -> None:
    """With receipt and reason, no copy, and an event in the log; before that, nothing
    is decided.
    """
    event = bad(world, fault, *methods)
    with pytest.raises(ObjectUnreadable):
        on_upload(event, world.ctx)
    assert not world.documents()
    late(world)
    decision = on_upload(event, world.ctx)
    assert (decision.kind, decision.code) == ("rejected", Code.SOURCE_UNREADABLE)
    reason = world.reason(decision)
    assert (reason.status, reason.error_code) == ("rejected", Code.SOURCE_UNREADABLE)
    assert world.store.keys("quarantine") == (keys.reason(reason.upload_id),)
    assert [told.fields["error_code"] for told in world.log()] == [
        Code.SOURCE_UNREADABLE
    ]
    assert on_upload(event, world.ctx).repeated
    has_head = "HEAD" not in methods or fault is CUT
    assert (world.receipt(decision).callback is not None) == has_head


def test_put_again_after_its_end_it_is_an_upload_like_any_other(world: World) -> None:
    event = bad(world, FORBIDDEN)
    late(world)
    assert on_upload(event, world.ctx).kind == "rejected"
    world.store.allow()
    assert on_upload(event, world.ctx).repeated  # an end is an end
    again = world.upload("bad.png", photo(colour=9))
    assert (again.kind, again.repeated) == ("queued", False)


@every_fault
def test_the_queue_goes_on(world: World, fault: Refusal) -> None:
    """The message is done with at once, however many there are: the upload is the
    sweep's.
    """
    bad(world, fault)
    for _ in range(5):
        hand = Hand(notification("bad.png"))
        settle(hand.delivery, world.ctx, threading.Event())
        assert hand.rulings == [Settlement()]
    assert not world.documents()


@every_fault
def test_the_door_stays_open(world: World, fault: Refusal) -> None:
    """The store hears that it may tell it again; everybody else is served."""
    bad(world, fault)
    client = TestClient(build(world.ctx, checks={}))
    token = {"Authorization": "Bearer token"}
    for _ in range(5):
        answer = client.post(
            "/events/storage", content=notification("bad.png"), headers=token
        )
        assert (answer.status_code, answer.json()["code"]) == (503, "source_unreadable")
    answer = client.post(
        "/events/storage", content=notification("other.png"), headers=token
    )
    assert [decision["kind"] for decision in answer.json()["decisions"]] == ["queued"]


@every_fault
def test_the_sweep_ends_it(world: World, fault: Refusal) -> None:
    """Pass after pass it finds it again, and goes on to those behind it."""
    bad(world, fault, key="a.png")
    world.clock.advance(world.ctx.settings.lease_s + 2)
    report = on_sweep(
        world.ctx, backlogs=lambda: dict.fromkeys(topology.ALL, Backlog(0, 0))
    )
    assert (report.failed, report.notifications_missed) == (1, 1)
    late(world)
    report = on_sweep(
        world.ctx, backlogs=lambda: dict.fromkeys(topology.ALL, Backlog(0, 0))
    )
    assert (report.failed, report.notifications_missed) == (0, 1)
    assert {told.fields.get("error_code") for told in world.log()} == {
        None,
        Code.SOURCE_UNREADABLE,
    }


def test_a_store_that_refuses_everything_ends_nothing(world: World) -> None:
    """As with a wrong access key, however long."""
    event = bad(world, FORBIDDEN)
    world.store.refuse("uploads", "other.png", FORBIDDEN)
    late(world)
    with pytest.raises(StorageUnavailable) as raised:
        on_upload(event, world.ctx)
    assert raised.value.code == Code.STORAGE_UNAVAILABLE
    assert not world.documents()
