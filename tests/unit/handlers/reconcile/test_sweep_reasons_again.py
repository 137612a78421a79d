"""Ends without a result, and uploads that come while or after the sweep looks at them:
each keeps its own end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from handlers.http.api import cancel_and_erase
from handlers.on_sweep import Memory
from shared.errors import NotFound
from shared.uploads import keys
from shared.uploads.documents import Reason, Receipt
from shared.uploads.store import UploadStore
from tests.support.reconcile_world import Town, photo
from tests.unit.handlers.reconcile.test_sweep_reasons import erase


@pytest.fixture
def town() -> Town:
    return Town()


def test_a_result_made_for_a_later_upload_stays(town: Town) -> None:
    """The same photo, uploaded again after it was erased."""
    data = photo(5)
    erase(town, town.upload("a.png", data))
    again = town.upload("b.png", data)
    record = town.restore(again)
    town.later()
    town.sweep()
    town.later(7200)
    town.sweep()
    assert town.record(again) == record
    assert town.store.read("results", record.result_key)


def test_the_reason_of_an_earlier_upload_at_the_key_ends_nobody(town: Town) -> None:
    """A worker was late with the failure of the first: the second waits on, and its
    lost message is published again.
    """
    data, memory = photo(4), Memory()
    upload = town.upload("a.png", data)
    first = town.receipt(upload)
    town.later()
    assert town.upload("a.png", data, {"workflow": "dehaze"}) == upload
    second = town.receipt(upload)
    town.fail(upload)
    late = town.reason(upload).model_copy(update={"source": first.source})
    town.store.put(
        "quarantine", keys.reason(upload), late.to_bytes(), "application/json"
    )
    town.lose()
    for _ in range(2):
        town.later()
        town.sweep(memory=memory)
    assert town.messages() == [upload]
    assert town.receipt(upload) == second
    with pytest.raises(NotFound):
        town.reason(upload)


def test_the_end_of_a_later_upload_at_the_key_stays(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bytes come again, and fail again, while the sweep is about to read why
    the first ones did.
    """
    data = photo(4)
    upload = town.upload("a.png", data)
    town.fail(upload)
    town.later()

    def read_late(uploads: UploadStore, ident: str) -> Reason:
        monkeypatch.undo()
        town.upload("a.png", data)
        town.fail(upload)
        return uploads.reason(ident)

    monkeypatch.setattr(UploadStore, "reason", read_late)
    town.sweep()
    assert town.reason(upload).source == town.receipt(upload).source


def test_an_erasure_takes_no_later_upload_at_the_key(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bytes come again while the sweep is about to finish the erasure of the
    first ones.
    """
    data = photo(4)
    upload = town.upload("a.png", data)
    erase(town, upload)
    town.later()

    def read_late(uploads: UploadStore, ident: str) -> Receipt:
        monkeypatch.undo()
        town.upload("a.png", data)
        return uploads.receipt(ident)

    monkeypatch.setattr(UploadStore, "receipt", read_late)
    town.sweep()
    assert town.receipt(upload).source.key == "a.png"
    assert town.store.read("uploads", "a.png") == data


def test_a_duplicate_whose_result_was_taken_back_is_restored(town: Town) -> None:
    """It was decided on in the moment between a record and its erasure."""
    data, memory = photo(3), Memory()
    first = town.upload("a.png", data)
    town.restore(first)
    erased = town.receipt(first)
    second = town.upload("b.png", data)
    cancel_and_erase.erase(town.ctx, erased.task_id or "", [erased])
    town.later()
    town.lose()
    assert town.sweep(memory=memory).republished == 1
    assert (town.messages(), town.receipt(second).decision) == ([second], "queued")
    town.later()
    assert town.sweep(memory=memory).waiting == 1
    town.restore(second)
    town.later()
    assert town.sweep(memory=memory).waiting == 0


def test_an_erasure_during_a_republication_stays(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receipt gets a new age, not the name that was taken away meanwhile."""
    upload = town.upload("grandma.png")
    town.lose()
    town.later()
    publish = town.publisher.publish_many

    def publish_many(queue: str, bodies: Any) -> None:
        erase(town, upload)
        publish(queue, bodies)

    monkeypatch.setattr(town.publisher, "publish_many", publish_many)
    assert town.sweep().republished == 1
    assert Path(town.receipt(upload).source.key).name != "grandma.png"
