"""What a worker has in hand is bounded by size, and the big photo among small ones
still has its turn.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, cast

import pytest

from gpu_worker.pipeline.in_flight import Hand, pixels
from gpu_worker.pipeline.job import Job
from shared.uploads.documents import Receipt
from shared.uploads.messages import RestoreTask
from tests.support.reconcile_world import Town

SMALL = 24 * 16  # 6 x 4 px at scale 4


@dataclass
class Photo:
    """What the hand looks at in a job."""

    task: RestoreTask
    receipt: Receipt


@pytest.fixture
def town() -> Town:
    return Town()


def photo(town: Town, key: str, side: int = 1) -> Job:
    """`side` times as wide and high as a small one."""
    receipt = town.receipt(town.upload(key))
    source = receipt.source.model_copy(update={"width": 6 * side, "height": 4 * side})
    task = RestoreTask(
        task_id=receipt.task_id or "",
        upload_id=receipt.upload_id,
        priority="bulk",
        queued_at=receipt.decided_at,
    )
    return cast(Job, Photo(task, receipt.model_copy(update={"source": source})))


def test_a_photo_counts_as_what_comes_out(town: Town) -> None:
    """By the header and the workflow's scale; of a workflow that is not known here, as
    what goes in.
    """
    receipt = photo(town, "a.png").receipt
    assert pixels(receipt) == SMALL
    assert receipt.workflow
    strange: Any = receipt.workflow.model_copy(update={"name": "of a later release"})
    assert pixels(receipt.model_copy(update={"workflow": strange})) == 6 * 4
    assert pixels(receipt.model_copy(update={"workflow": None})) == 6 * 4


def test_small_ones_go_together_and_a_big_one_alone(town: Town) -> None:
    """The big one is taken although it alone is more than the limit, but only into an
    empty hand.
    """
    hand, never = Hand(3 * SMALL), threading.Event()
    small = [photo(town, f"{n}.png") for n in range(3)]
    for job in small:
        assert hand.wait_for_room(job.receipt, never)
        hand.take(job)
    big, entered = photo(town, "big.png", side=3), threading.Event()

    def enter() -> None:
        assert hand.wait_for_room(big.receipt, never)
        hand.take(big)
        entered.set()

    waiting = threading.Thread(target=enter)
    waiting.start()
    for job in small:
        assert not entered.is_set()
        hand.put_down(job)
    assert entered.wait(60)
    waiting.join()
    assert hand.jobs() == [big]


def test_who_leaves_waits_for_no_room(town: Town) -> None:
    """And takes nothing."""
    hand, leaving = Hand(SMALL), threading.Event()
    hand.take(photo(town, "a.png"))
    answers = list[bool]()
    next_one = photo(town, "b.png")
    waiting = threading.Thread(
        target=lambda: answers.append(hand.wait_for_room(next_one.receipt, leaving))
    )
    waiting.start()
    leaving.set()
    waiting.join(60)
    assert answers == [False]
