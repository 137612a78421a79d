"""A photo that had failed gets a fresh start: nothing in the buckets speaks of its end
or its attempts any more.
"""

from __future__ import annotations

from typing import Any

import pytest

from handlers.http.api import cancel_and_erase
from shared.errors import BrokerUnavailable, Code, NotFound
from shared.s3.store import ObjectInfo
from shared.uploads import events, keys
from shared.uploads.claims import Claim
from shared.uploads.messages import LogEvent, RestoreTask
from shared.uploads.outcome import ERASED_KEY
from shared.uploads.retry_failed import reopen
from tests.support.reconcile_world import Town


@pytest.fixture
def town() -> Town:
    return Town()


def task_of(town: Town, upload: str) -> RestoreTask:
    receipt = town.receipt(upload)
    return RestoreTask(
        task_id=receipt.task_id or "",
        upload_id=upload,
        priority="bulk",
        queued_at=receipt.decided_at,
    )


def reopened(town: Town, upload: str) -> bool:
    return reopen(
        task_of(town, upload),
        town.store,
        town.publisher,
        town.ctx.settings,
        town.clock.now(),
    )


def failed(town: Town) -> str:
    """A photo that two workers died of, set aside; its message is among the dead."""
    upload = town.upload("a.png")
    for worker in ("w1", "w2"):
        town.claim(upload, worker)
        town.later()
    town.lose()
    town.store.copy(
        town.store.head("uploads", "a.png"),
        "quarantine",
        keys.quarantined(upload, "a.png"),
    )
    town.fail(upload)
    return upload


def test_a_failed_photo_waits_again_and_may_use_all_its_attempts(town: Town) -> None:
    """Reason, copy and claims are gone; the next claim is the first."""
    upload = failed(town)
    assert reopened(town, upload)
    assert town.store.keys("quarantine") == ()
    claim = town.claim(upload)
    assert isinstance(claim, Claim)
    assert (claim.attempt, claim.note.crashes) == (1, 0)


def test_a_message_lost_after_that_is_found_by_the_sweep(town: Town) -> None:
    """Long settled receipts are not read again: this one is, because it was written
    again.
    """
    upload = failed(town)
    town.sweep()
    town.later(3600)
    town.sweep()
    assert reopened(town, upload)
    town.later()
    assert town.sweep().republished == 1
    assert town.messages() == [upload]


def test_the_log_hears_of_it_and_of_a_second_failure(town: Town) -> None:
    """Every fact after the retry is another fact than before it."""
    upload = failed(town)
    first = [
        events.of_receipt(town.receipt(upload), "results"),
        events.of_reason(town.reason(upload)),
    ]
    reopened(town, upload)
    again = LogEvent.decode(town.publisher.sent[-1].body)
    assert (again.kind, again.fields["retries"], again.at) == (
        "queued",
        1,
        town.clock.now(),
    )
    reason = town.receipt(upload)
    town.fail(upload)
    second = events.of_reason(
        town.reason(upload).model_copy(update={"retries": reason.retries})
    )
    assert len({event.event_id for event in (*first, again, second)}) == 4


def test_what_is_being_worked_on_for_another_upload_keeps_its_claim(town: Town) -> None:
    """The same photo under another key: its worker must not find itself beside a second
    one.
    """
    upload = failed(town)
    town.claims("w3").clear(town.receipt(upload).task_id or "", 2)
    town.claim(upload, "w3")
    assert reopened(town, upload)
    assert len(list(town.store.list("results", keys.claims()))) == 1


def test_only_what_failed_is_reopened(town: Town) -> None:
    """Waiting, erased and unknown photos are left alone."""
    waiting = town.upload("waiting.png")
    erased = failed(town)
    reason = town.reason(erased).model_copy(update={"error_code": Code.ERASED})
    town.store.put(
        "quarantine", keys.reason(erased), reason.to_bytes(), "application/json"
    )
    before = town.store.snapshot()
    assert not reopened(town, waiting)
    assert not reopened(town, erased)
    unknown = task_of(town, waiting).model_copy(update={"upload_id": "x"})
    assert not reopen(
        unknown, town.store, town.publisher, town.ctx.settings, town.clock.now()
    )
    assert town.store.snapshot() == before


def test_a_crash_in_the_middle_leaves_an_end_or_a_photo_that_waits(town: Town) -> None:
    """The broker goes away after the receipt: the reason still stands, and a second try
    reopens.
    """
    upload = failed(town)
    town.publisher.refused = {"darkroom.log"}
    with pytest.raises(BrokerUnavailable):
        reopened(town, upload)
    assert town.reason(upload).status == "failed"
    town.publisher.refused = set()
    assert reopened(town, upload)
    with pytest.raises(NotFound):
        town.reason(upload)


def test_what_its_owner_takes_back_meanwhile_stays_away(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He erased it between the look at its failure and the fresh start."""
    upload = failed(town)
    receipt, put = town.receipt(upload), town.store.put

    def meanwhile(*args: Any) -> ObjectInfo:
        monkeypatch.undo()
        cancel_and_erase.erase(town.ctx, receipt.task_id or "", [receipt])
        return put(*args)

    monkeypatch.setattr(town.store, "put", meanwhile)
    assert not reopened(town, upload)
    assert town.reason(upload).error_code == Code.ERASED
    town.later()
    town.sweep()
    assert town.receipt(upload).source.key == ERASED_KEY
