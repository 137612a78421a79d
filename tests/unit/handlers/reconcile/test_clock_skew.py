"""An hour between the clocks of machines changes no outcome: every age is the store's
word, every duration a counted one.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from handlers.on_sweep import on_sweep
from shared.uploads.claims import Claim, Claims, LeaseHeld
from tests.support.fake_clock import FakeClock
from tests.support.reconcile_world import LEASE_S, Town

every_skew = pytest.mark.parametrize("skew_s", [-3600, 0, 3600])


def sweep(town: Town, skew_s: float) -> tuple[int, int, int]:
    """A pass by a machine whose clock is wrong: how many it republished, called,
    missed.
    """
    there = replace(
        town.ctx, clock=FakeClock(town.clock.now() + timedelta(seconds=skew_s))
    )
    report = on_sweep(there, backlogs=town.backlogs)
    assert report.seconds >= 0
    return report.republished, report.retried, report.notifications_missed


@every_skew
def test_a_sweep_with_a_wrong_clock_steals_nothing(town: Town, skew_s: float) -> None:
    """A young upload, a photo that waits, and one in a worker's hands are left alone."""
    town.upload("waits.png")
    begun = town.upload("begun.png")
    claim = town.claim(begun)
    town.take(1)
    town.put("young.png")
    for _ in range(5):
        town.later(LEASE_S / 3)
        town.claims().renew(claim)
        town.store.put(
            "uploads", "young.png", town.store.read("uploads", "young.png"), "image/png"
        )
        assert sweep(town, skew_s) == (0, 0, 0)


@every_skew
def test_a_sweep_with_a_wrong_clock_forgets_nothing(town: Town, skew_s: float) -> None:
    """A lost notification, a lost message, a dead worker: each made good once, as soon
    as with a right clock.
    """
    lost, dead = town.upload("lost.png"), town.upload("dead.png")
    town.lose()
    town.claim(dead)
    town.put("missed.png")
    assert sweep(town, skew_s) == (0, 0, 0)
    town.later()
    assert sweep(town, skew_s) == (1, 1, 1)
    assert sorted(town.messages())[:1] != []
    assert {lost, dead} <= set(town.messages())
    assert sweep(town, skew_s) == (0, 0, 0)


@every_skew
def test_workers_with_wrong_clocks_agree_on_the_holder(
    town: Town, skew_s: float
) -> None:
    """A claim is due by the store's clock: no worker's own is asked."""
    upload = town.upload("a.png")
    task_id = town.receipt(upload).task_id or ""
    ours = town.claim(upload, "right")
    theirs = Claims(town.store, town.ctx.settings, "wrong")
    assert isinstance(theirs.acquire(task_id, upload), LeaseHeld)
    for _ in range(4):
        town.later(LEASE_S - 5)
        town.claims("right").renew(ours)
        assert isinstance(theirs.acquire(task_id, upload), LeaseHeld)
    town.later()
    assert isinstance(theirs.acquire(task_id, upload), Claim)


@every_skew
def test_a_handler_with_a_wrong_clock_decides_the_same(
    town: Town, skew_s: float
) -> None:
    """The time of the decision is its own word; ids, order and end are not touched by
    it.
    """
    right = town.upload("a.png")
    before = town.receipt(right)
    town.store.delete("results", f"receipts/{right}.json")
    town.ctx = replace(
        town.ctx, clock=FakeClock(town.clock.now() + timedelta(seconds=skew_s))
    )
    town.later()
    assert town.sweep().notifications_missed == 1
    after = town.receipt(right)
    assert after == before.model_copy(update={"decided_at": after.decided_at})
    town.restore(right)
    town.lose()
    town.later()
    report = town.sweep()
    assert (report.notifications_missed, report.republished, report.waiting) == (
        0,
        0,
        0,
    )


@pytest.fixture
def town() -> Town:
    return Town()
