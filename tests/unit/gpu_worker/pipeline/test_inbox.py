"""The inbox: interactive before bulk, bulk never starved, parked deliveries when they
are due.
"""

from dataclasses import dataclass

import pytest

from gpu_worker.pipeline.inbox import BULK_TURN, Inbox
from shared.broker import topology
from tests.support.fakes import FakeClock


@dataclass
class Letter:
    queue: str
    name: str


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def inbox(clock):
    return Inbox(clock)


def names(inbox, count):
    return [inbox.next(0).name for _ in range(count)]


def test_interactive_overtakes_bulk(inbox):
    inbox.put(Letter(topology.BULK, "b"))
    inbox.put(Letter(topology.INTERACTIVE, "i"))
    assert names(inbox, 2) == ["i", "b"]


def test_a_flood_of_interactive_work_does_not_starve_bulk(inbox):
    inbox.put(Letter(topology.BULK, "b"))
    for _ in range(BULK_TURN + 3):
        inbox.put(Letter(topology.INTERACTIVE, "i"))
    assert names(inbox, BULK_TURN + 1) == ["i"] * BULK_TURN + ["b"]


def test_bulk_lanes_take_turns(inbox):
    """Two hundred photos of one user, then one of another and one of nobody: nobody
    waits for more than one photo.
    """
    for number in range(200):
        inbox.put(Letter(topology.LANES[1], f"a{number}"))
    assert names(inbox, 2) == ["a0", "a1"]
    inbox.put(Letter(topology.LANES[5], "b"))
    inbox.put(Letter(topology.BULK, "nobody"))
    assert set(names(inbox, 3)) == {"b", "nobody", "a2"}
    assert names(inbox, 197) == [f"a{number}" for number in range(3, 200)]


def test_interactive_lanes_and_previews_take_turns(inbox):
    """Behind two hundred interactive photos of one user, another's single one and a
    preview wait for one photo.
    """
    lanes = topology.INTERACTIVE_LANES
    for number in range(200):
        inbox.put(Letter(lanes[2], f"a{number}"))
    assert names(inbox, 2) == ["a0", "a1"]
    inbox.put(Letter(lanes[3], "b"))
    inbox.put(Letter(topology.PREVIEW, "a look"))
    assert set(names(inbox, 3)) == {"b", "a look", "a2"}


def test_every_eighth_photo_is_bulk_and_of_the_lane_whose_turn_it_is(inbox):
    """A flood of interactive work leaves the lanes their turns, one after the other."""
    for lane in (1, 2):
        for _ in range(2):
            inbox.put(Letter(topology.LANES[lane], f"lane {lane}"))
    for _ in range(4 * BULK_TURN):
        inbox.put(Letter(topology.INTERACTIVE, "i"))
    taken = names(inbox, 4 * (BULK_TURN + 1))
    assert taken[BULK_TURN :: BULK_TURN + 1] == ["lane 1", "lane 2", "lane 1", "lane 2"]
    assert taken.count("i") == 4 * BULK_TURN


def test_a_parked_delivery_comes_back_when_due_and_not_before(inbox, clock):
    inbox.park(Letter(topology.BULK, "parked"), 5)
    assert inbox.next(0) is None
    clock.advance(5)
    assert inbox.next(0).name == "parked"


def test_an_empty_inbox_gives_nothing(inbox):
    assert inbox.next(0) is None
