"""The inbox: interactive photos before bulk photos, which are never starved; parked
deliveries when they are due.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest

from gpu_worker.pipeline.inbox import BULK_TURN, Inbox
from shared.broker import topology
from tests.support.fake_clock import FakeClock


@dataclass
class Letter:
    """A delivery of which only the queue matters."""

    queue: str
    name: str


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def inbox(clock: FakeClock) -> Inbox:
    return Inbox(clock)


def put(inbox: Inbox, queue: str, *letters: str) -> None:
    for name in letters:
        inbox.put(cast(Any, Letter(queue, name)))


def take(inbox: Inbox, count: int = 1) -> list[str]:
    """The names of the next deliveries; fewer where the inbox is empty."""
    letters = [cast(Any, inbox.next(0)) for _ in range(count)]
    return [letter.name for letter in letters if letter]


def test_interactive_overtakes_bulk(inbox: Inbox) -> None:
    put(inbox, topology.BULK, "b")
    put(inbox, topology.INTERACTIVE, "i")
    assert take(inbox, 2) == ["i", "b"]


def test_a_flood_of_interactive_work_does_not_starve_bulk(inbox: Inbox) -> None:
    put(inbox, topology.BULK, "b")
    put(inbox, topology.INTERACTIVE, *["i"] * (BULK_TURN + 3))
    assert take(inbox, BULK_TURN + 1) == ["i"] * BULK_TURN + ["b"]


def test_bulk_lanes_take_turns(inbox: Inbox) -> None:
    """Behind two hundred photos of one user come one of another and one without a user:
    neither waits for more than one photo.
    """
    flood = [f"a{number}" for number in range(200)]
    put(inbox, topology.LANES[1], *flood)
    assert take(inbox, 2) == flood[:2]
    put(inbox, topology.LANES[5], "b")
    put(inbox, topology.BULK, "anonymous")
    assert set(take(inbox, 3)) == {"b", "anonymous", "a2"}
    assert take(inbox, 197) == flood[3:]


def test_interactive_lanes_and_previews_take_turns(inbox: Inbox) -> None:
    """Behind two hundred interactive photos of one user, another's single one and a
    preview wait for one photo.
    """
    flood = [f"a{number}" for number in range(200)]
    put(inbox, topology.INTERACTIVE_LANES[2], *flood)
    assert take(inbox, 2) == flood[:2]
    put(inbox, topology.INTERACTIVE_LANES[3], "b")
    put(inbox, topology.PREVIEW, "a preview")
    assert set(take(inbox, 3)) == {"b", "a preview", "a2"}


def test_every_ninth_photo_is_bulk_and_of_the_lane_whose_turn_it_is(
    inbox: Inbox,
) -> None:
    """A flood of interactive work leaves the lanes their turns, one after the other."""
    put(inbox, topology.LANES[1], "lane 1", "lane 1")
    put(inbox, topology.LANES[2], "lane 2", "lane 2")
    put(inbox, topology.INTERACTIVE, *["i"] * (4 * BULK_TURN))
    taken = take(inbox, 4 * (BULK_TURN + 1))
    bulk = taken[BULK_TURN :: BULK_TURN + 1]
    assert bulk == ["lane 1", "lane 2", "lane 1", "lane 2"]
    assert taken.count("i") == 4 * BULK_TURN


def test_a_parked_delivery_comes_back_when_due_and_not_before(
    inbox: Inbox, clock: FakeClock
) -> None:
    inbox.park(cast(Any, Letter(topology.BULK, "parked")), 5)
    assert take(inbox) == []
    clock.advance(5)
    assert take(inbox) == ["parked"]


def test_an_empty_inbox_gives_nothing(inbox: Inbox) -> None:
    assert take(inbox) == []


def test_what_waits_here_is_known_until_it_is_taken(
    inbox: Inbox, clock: FakeClock
) -> None:
    assert not inbox.waits()
    put(inbox, topology.BULK, "a")
    assert inbox.waits()
    delivery = inbox.next(0)
    assert delivery is not None
    assert not inbox.waits()
    inbox.park(delivery, 5)
    assert inbox.waits()
