"""The photos in flight are bounded by size, and a big photo among small ones still has
its turn.
"""

from __future__ import annotations

import dataclasses
import threading
from typing import Any, cast

import pytest

from gpu_worker.pipeline.in_flight import InFlight, pixels
from gpu_worker.pipeline.job import Job
from shared.uploads.messages import RestoreTask
from tests.support.reconcile_world import Town

SMALL = 24 * 16  # 6 x 4 px at scale 4


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
    claim = town.claim(receipt.upload_id)
    receipt = receipt.model_copy(update={"source": source})
    nothing = cast(Any, None)  # the delivery is not looked at
    return Job(nothing, task, receipt, claim, receipt.decided_at)


def test_a_photo_counts_as_what_comes_out(town: Town) -> None:
    """By the header and the workflow's scale; with a workflow that is not known here,
    as what goes in.
    """
    receipt = photo(town, "a.png").receipt
    assert pixels(receipt) == SMALL
    assert receipt.workflow
    update: dict[str, Any] = {"name": "of a later release"}
    unknown = receipt.workflow.model_copy(update=update)
    assert pixels(receipt.model_copy(update={"workflow": unknown})) == 6 * 4
    assert pixels(receipt.model_copy(update={"workflow": None})) == 6 * 4


def test_small_photos_go_together_and_a_big_one_alone(town: Town) -> None:
    """The big one is begun although it alone is more than the limit, but only when
    nothing else is in flight.
    """
    in_flight, never = InFlight(3 * SMALL), threading.Event()
    small = [photo(town, f"{n}.png") for n in range(3)]
    for job in small:
        with in_flight.beginning():
            assert in_flight.wait_for_room(job.receipt, never)
            in_flight.add(job)
    big, begun = photo(town, "big.png", side=3), threading.Event()

    def begin() -> None:
        assert in_flight.wait_for_room(big.receipt, never)
        in_flight.add(big)
        begun.set()

    waiting = threading.Thread(target=begin)
    waiting.start()
    for job in small:
        assert not begun.is_set()
        in_flight.remove(job)
    assert begun.wait(60)
    waiting.join()
    assert in_flight.jobs() == [big]


def test_a_worker_that_leaves_waits_for_no_room(town: Town) -> None:
    """And begins nothing."""
    in_flight, leaving = InFlight(SMALL), threading.Event()
    in_flight.add(photo(town, "a.png"))
    answers = list[bool]()
    receipt = photo(town, "b.png").receipt

    def wait() -> None:
        answers.append(in_flight.wait_for_room(receipt, leaving))

    waiting = threading.Thread(target=wait)
    waiting.start()
    leaving.set()
    waiting.join(60)
    assert answers == [False]


def test_one_task_may_have_two_jobs(town: Town) -> None:
    """Claimed again after the lease of the first ran out while the store was frozen:
    the end of one leaves the other in flight.
    """
    in_flight = InFlight(3 * SMALL)
    first = photo(town, "a.png")
    second = dataclasses.replace(first)
    in_flight.add(first)
    in_flight.add(second)
    in_flight.remove(first)
    assert len(in_flight.jobs()) == 1
    assert in_flight.jobs()[0] is second
    in_flight.remove(second)
    assert in_flight.jobs() == []
