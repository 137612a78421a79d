"""The inbox: interactive before bulk, bulk never starved, parked deliveries when they are due."""

from dataclasses import dataclass

import pytest

from gpu_worker.inbox import BULK_TURN, Inbox
from shared.broker import topology
from tests.fakes import FakeClock


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


def test_a_parked_delivery_comes_back_when_due_and_not_before(inbox, clock):
    inbox.park(Letter(topology.BULK, "parked"), 5)
    assert inbox.next(0) is None
    clock.advance(5)
    assert inbox.next(0).name == "parked"


def test_an_empty_inbox_gives_nothing(inbox):
    assert inbox.next(0) is None
