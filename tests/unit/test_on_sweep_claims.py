"""Photos in a worker's hands: left alone while the claim lives, called again when it ran out or a try is due."""

from __future__ import annotations

import pytest

from shared import keys
from shared.errors import NotFound
from tests.unit.sweep_town import LEASE_S, Town


@pytest.fixture
def town() -> Town:
    return Town()


def test_a_photo_in_work_is_left_alone(town: Town) -> None:
    """Its message is in a worker's hands, not in the queue; the claim, which is renewed, says so."""
    upload = town.upload("a.png")
    town.lose()
    claim = town.claim(upload)
    for _ in range(5):
        town.later(LEASE_S - 5)
        town.claims().renew(claim)
        report = town.sweep()
        assert (report.republished, report.called) == (0, 0)


def test_what_a_worker_holds_ready_is_left_alone(town: Town) -> None:
    """It has one photo in work and two more in hand; a fourth, whose message was lost, is told from these."""
    uploads = []
    for name in "abcd":
        uploads.append(town.upload(f"{name}.png"))
        town.later(2)
    town.take(3)
    claim = town.claim(uploads[0])
    for _ in range(3):
        town.later(LEASE_S - 5)
        town.claims().renew(claim)
        assert town.sweep().republished == 0
    town.lose()
    assert town.sweep().republished == 1
    town.later(LEASE_S - 5)
    town.claims().renew(claim)
    assert town.sweep().republished == 0


def test_a_dead_workers_photo_is_called_once(town: Town) -> None:
    """The claim ran out: published, marked, and not again while that message waits; if it is lost, it is again."""
    upload = town.upload("a.png")
    town.lose()
    town.claim(upload)
    town.later()
    report = town.sweep()
    assert (report.called, report.republished) == (1, 0)
    assert town.messages() == [upload]
    town.later()
    report = town.sweep()
    assert (report.called, report.republished) == (0, 0)
    town.lose()
    assert town.sweep().republished == 1
    assert town.claim(upload, "w2").note.crashes == 1


def test_a_failed_try_is_called_when_it_is_due(town: Town) -> None:
    """Not before its wait is over, by the store's clock, and even if the photo is otherwise young."""
    upload = town.upload("a.png")
    town.lose()
    town.claims().fail(town.claim(upload), RuntimeError("flaky"), wait_s=10)
    town.later(9)
    assert town.sweep().called == 0
    town.later(1)
    assert town.sweep().called == 1
    assert town.messages() == [upload]


def test_a_due_try_of_an_ended_photo_is_not_called(town: Town) -> None:
    """The worker died after the record was written, before it gave up its claim; the claim goes."""
    upload = town.upload("a.png")
    town.lose()
    claim = town.claim(upload)
    town.restore(upload)
    town.later()
    report = town.sweep()
    assert (report.called, report.republished, report.claims_deleted) == (0, 0, 1)
    with pytest.raises(NotFound):
        town.store.head("results", keys.claim(claim.task_id, 1))


def test_claims_of_photos_that_wait_are_kept(town: Town) -> None:
    """They count the attempts, however old they are."""
    upload = town.upload("a.png")
    town.lose()
    claim = town.claim(upload)
    for _ in range(3):
        town.later(3600)
        assert town.sweep().claims_deleted == 0
    town.store.head("results", keys.claim(claim.task_id, 1))
