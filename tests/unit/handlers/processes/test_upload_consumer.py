"""The queue door: what is understood is acknowledged, what never will be is set aside,
what must wait waits in hand.
"""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import Any

import pytest

from handlers.processes.upload_consumer import settle
from handlers.take_in import take_in
from shared.broker import topology
from shared.broker.delivery import Delivery, Settlement
from shared.errors import Code, PermanentError, StorageUnavailable
from shared.runtime.settings import Settings
from tests.support.upload_world import World, photo
from tests.unit.handlers.http.test_app import notification


class Hand:
    """A delivery in hand, and how it was settled."""

    def __init__(self, body: bytes, headers: dict[str, Any] | None = None) -> None:
        self.rulings: list[Settlement] = []
        self.delivery = Delivery(
            topology.UPLOADS,
            body,
            headers or {},
            False,
            lambda _, r: self.rulings.append(r),
        )


@pytest.fixture
def world() -> World:
    return World(
        settings={"retry_base_s": 0.001, "retry_cap_s": 0.002, "max_attempts": 3}
    )


def test_a_notification_is_acknowledged_when_it_is_decided(world: World) -> None:
    """The receipt is written first."""
    world.put("a.png", photo())
    hand = Hand(notification("a.png"))
    settle(hand.delivery, world.ctx, threading.Event())
    assert hand.rulings == [Settlement()]
    assert len(world.tasks()) == 1


def test_headers_of_the_message_are_read(world: World) -> None:
    """Names in any case; values that are no text say nothing."""
    world.put("a.png", photo())
    record = b'{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "uploads"}, "object": {"key": "a.png"}}}'
    hand = Hand(
        record,
        {
            "CE-SpecVersion": "1.0",
            "ce-type": "com.amazonaws.s3.ObjectCreated:Put",
            "x-death": [1],
        },
    )
    settle(hand.delivery, world.ctx, threading.Event())
    assert hand.rulings == [Settlement()]
    assert len(world.tasks()) == 1


@pytest.mark.parametrize("body", [b"", b"not json", b'{"hello": 1}', b"[" * 100_000])
def test_what_cannot_be_read_is_set_aside(world: World, body: bytes) -> None:
    """At once, with its reason: reading it again would not help."""
    hand = Hand(body)
    settle(hand.delivery, world.ctx, threading.Event())
    [ruling] = hand.rulings
    assert ruling.code == Code.BAD_MESSAGE
    assert ruling.detail


class Outage(threading.Event):
    """A stop signal that is never given; after `turns` waits the store is back."""

    def __init__(self, world: World, turns: int) -> None:
        super().__init__()
        self.world, self.turns, self.waits = world, turns, 0

    def wait(self, timeout: float | None = None) -> bool:
        self.waits += 1
        if self.waits == self.turns:
            self.world.store.unavailable = False
        return False


def test_a_store_that_is_down_is_waited_for(world: World) -> None:
    """However often: nothing is set aside for a fault of the surroundings."""
    world.put("a.png", photo())
    world.store.unavailable = True
    outage = Outage(world, turns=10)
    hand = Hand(notification("a.png"))
    settle(hand.delivery, world.ctx, outage)
    assert (hand.rulings, outage.waits) == ([Settlement()], 10)
    assert len(world.tasks()) == 1


def test_a_process_that_leaves_settles_nothing(world: World) -> None:
    """The message goes to another one."""
    stop = threading.Event()
    stop.set()
    hand = Hand(notification("a.png"))
    settle(hand.delivery, world.ctx, stop)
    assert hand.rulings == []


def test_a_bug_is_tried_again_and_then_set_aside(world: World) -> None:
    """As often as a photo: a message that always breaks us must not be held for ever."""

    class Buggy:
        calls = 0

        def open(self, *_: object) -> None:
            self.calls += 1
            raise RuntimeError

    store = Buggy()
    hand = Hand(notification("a.png"))
    settle(hand.delivery, replace(world.ctx, store=store), threading.Event())  # type: ignore[arg-type]
    [ruling] = hand.rulings
    assert (ruling.code, store.calls) == (
        Code.INTERNAL,
        Settings(max_attempts=3).max_attempts,
    )
    assert "RuntimeError in each of 3 attempts" in ruling.detail


def test_one_event_of_a_notification_hides_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one's object is refused, the second's is out of reach: the third is
    decided on, then it comes again.
    """
    faults: dict[str, Exception] = {
        "a.png": PermanentError(Code.INTERNAL, "refused"),
        "b.png": StorageUnavailable("b"),
    }
    for name in ("a.png", "b.png", "c.png"):
        world.put(name, photo())
    opened = world.store.open

    def broken(bucket: str, key: str, version: str | None = None) -> Any:
        if key in faults:
            raise faults[key]
        return opened(bucket, key, version)

    monkeypatch.setattr(world.store, "open", broken)
    names = [
        {
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "uploads"}, "object": {"key": name}},
        }
        for name in ("a.png", "b.png", "c.png")
    ]
    with pytest.raises(StorageUnavailable):
        take_in(json.dumps({"Records": names}).encode(), {}, world.ctx, "queue")
    assert len(world.tasks()) == 1
