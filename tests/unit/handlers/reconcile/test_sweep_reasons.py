"""Ends without a result: whose reason is broken, or says that the owner took the photo
back.
"""

from __future__ import annotations

from typing import Any

import pytest

from handlers import erasure
from handlers.audit_log.values import Ending
from handlers.http.api import cancel_and_erase
from handlers.on_sweep import Memory
from shared.broker import topology
from shared.errors import Code
from shared.uploads import keys
from shared.uploads.documents import Receipt
from shared.uploads.store import UploadStore
from tests.support.reconcile_world import Town, TownAuditLog, photo


class FullAuditLog(TownAuditLog):
    """Knows every end that was told before the erasures, and none of these."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Ending] = []

    def ended(self, ends: Any) -> set[str]:
        self.asked += ends
        return {end.upload_id for end in ends if not end.erased} | super().ended(ends)


@pytest.fixture
def town() -> Town:
    return Town()


def erase(town: Town, upload: str) -> None:
    receipt = town.receipt(upload)
    cancel_and_erase.erase(town.ctx, receipt.task_id or "", [receipt])


def left(town: Town, receipt: Receipt) -> list[str]:
    """What there is of a photo, wherever it lies."""
    task = receipt.task_id or ""
    there = {
        bucket: set(town.store.keys(bucket))
        for bucket in ("uploads", "results", "quarantine", "archive")
    }
    of_task = [key for key in keys.results(task) if key in there["results"]]
    copies = [
        key for key in there["quarantine"] if key != keys.reason(receipt.upload_id)
    ]
    return [
        *of_task,
        *copies,
        *(there["uploads"] & {receipt.source.key}),
        *there["archive"],
    ]


@pytest.mark.parametrize("ended", ["restored", "failed", "shared"])
def test_an_erasure_that_the_log_missed_is_told_again(town: Town, ended: str) -> None:
    """The log knows an end of the photo, but not this one: the broker was away, or lost
    it.
    """
    audit_log, memory, data = FullAuditLog(), Memory(), photo(8)
    if ended == "shared":
        town.restore(town.upload("twin.png", data))
    upload = town.upload("grandma.png", data)
    town.restore(upload) if ended == "restored" else town.fail(
        upload
    ) if ended == "failed" else None
    town.later()
    town.recorded()
    assert town.sweep(audit_log=audit_log, memory=memory).events_resent == 0
    town.publisher.refused = {topology.LOG}
    erase(town, upload)
    town.publisher.refused = set()
    town.later()
    assert town.sweep(audit_log=audit_log, memory=memory).events_resent == 1
    told = town.recorded()
    assert [event.fields.get("error_code") for event in told] == [None, Code.ERASED]
    audit_log.known.add(upload)
    town.later()
    assert town.sweep(audit_log=audit_log, memory=memory).events_resent == 0
    assert town.sweep(audit_log=audit_log, memory=memory).events_resent == 0


def test_the_audit_log_is_searched_for_the_very_end(town: Town) -> None:
    """A failure told before a success, or before another failure, is not it."""
    audit_log = FullAuditLog()
    done, again = town.upload("done.png"), town.upload("again.png")
    town.restore(done)
    town.fail(again)
    reason = town.reason(again).model_copy(update={"retries": 2})
    town.store.put(
        "quarantine", keys.reason(again), reason.to_bytes(), "application/json"
    )
    town.later()
    town.sweep(audit_log=audit_log)
    assert {end.upload_id: (end.at_least, end.retries) for end in audit_log.asked} == {
        done: ("duplicate", 0),
        again: ("rejected", 2),
    }


@pytest.mark.parametrize("stored", ["result", "record"])
def test_what_a_dead_worker_left_of_an_erased_photo_goes(
    town: Town, stored: str
) -> None:
    """It had stored its result after the erasure looked, and died before it asked:
    nothing may come back.
    """
    memory, upload = Memory(), town.upload("grandma.png")
    receipt, claim = town.receipt(upload), town.claim(upload)
    town.lose()
    erase(town, upload)
    town.store.put(
        "results", keys.receipt(upload), receipt.to_bytes(), "application/json"
    )
    town.restore(upload)
    if stored == "result":
        town.store.delete("results", keys.record(receipt.task_id or ""))
    town.store.put(
        "results",
        keys.receipt(upload),
        erasure.blank(receipt).to_bytes(),
        "application/json",
    )
    town.later(20)
    town.claims().renew(claim)
    town.later(20)
    town.sweep(memory=memory)
    # while it lives the worker does it itself
    assert keys.result(claim.task_id) in left(town, receipt)
    town.later()
    town.sweep(memory=memory)
    assert left(town, receipt) == []
    town.later(7200)
    town.sweep(memory=memory)
    assert left(town, receipt) == []
    assert town.reason(upload).error_code == Code.ERASED


def test_what_the_sweep_put_aside_of_an_erased_photo_goes_too(town: Town) -> None:
    """The result of an attempt that died, and documents that were damaged."""
    upload = town.upload("grandma.png")
    receipt = town.receipt(upload)
    town.restore(upload)
    town.store.delete("results", keys.record(receipt.task_id or ""))
    town.fail(upload)
    reason = town.reason(upload).to_bytes()[:-3]
    town.store.put("quarantine", keys.reason(upload), reason, "application/json")
    town.later(7200)
    town.sweep()
    town.store.put(
        "results", keys.receipt(upload), receipt.to_bytes()[:-3], "application/json"
    )
    for _ in range(2):
        town.later(7200)
        town.sweep()
    assert len(town.store.keys("archive")) == 3
    erase(town, upload)
    assert left(town, receipt) == []


@pytest.mark.parametrize("remembers", [True, False])
@pytest.mark.parametrize(
    "after", ["_erase_previews", "take_away_results", "delete_copies", "write_receipt"]
)
def test_an_erasure_that_broke_off_is_finished(
    town: Town, monkeypatch: pytest.MonkeyPatch, after: str, remembers: bool
) -> None:
    """Once its reason is written, whoever is killed: the photo had been settled for the
    sweep long before.
    """
    memory, audit_log = Memory(), FullAuditLog()
    upload = town.upload("grandma.png", metadata={"params": '{"scale": 2}'})
    receipt = town.receipt(upload)
    town.restore(upload)
    town.store.put("quarantine", f"{upload}/grandma.png", b"copy", "image/png")
    for _ in range(3):
        town.later()
        town.recorded()
        town.sweep(memory=memory if remembers else Memory(), audit_log=audit_log)

    def killed(*_: Any) -> None:
        raise RuntimeError("killed")

    place = UploadStore if after == "write_receipt" else erasure
    monkeypatch.setattr(place, after, killed)
    with pytest.raises(RuntimeError):
        erase(town, upload)
    monkeypatch.undo()
    town.later()
    town.sweep(memory=memory if remembers else Memory(), audit_log=audit_log)
    assert left(town, receipt) == []
    assert "grandma" not in town.receipt(upload).model_dump_json()
    assert town.receipt(upload).workflow != receipt.workflow


def test_a_damaged_reason_is_made_anew(town: Town) -> None:
    """The photo stays ended, as far as anybody can say why; it is not restored against
    its owner's will.
    """
    audit_log, uploads = (
        TownAuditLog(),
        [town.upload(f"{n}.png") for n in range(3)]
        + [town.upload("text.png", b"no photo")],
    )
    rejected = town.reason(uploads[3])
    town.fail(uploads[0])
    town.fail(uploads[1])
    erase(town, uploads[1])
    for upload, data in zip(
        (uploads[0], uploads[1], uploads[3]),
        (b"", b'{"v": 2}', b'{"v": 1, "upl'),
        strict=True,
    ):
        town.store.put("quarantine", keys.reason(upload), data, "application/json")
    town.later()
    town.recorded()
    report = town.sweep(audit_log=audit_log)
    assert (report.damaged, report.repaired, report.waiting) == (3, 3, 1)
    assert [town.reason(upload).error_code for upload in uploads[:2]] == [
        Code.BAD_DOCUMENT,
        Code.ERASED,
    ]
    assert town.reason(uploads[3]) == rejected
    assert town.store.read("archive", f"damaged/{keys.reason(uploads[3])}").startswith(
        b'{"v"'
    )
    town.later()
    report = town.sweep(audit_log=audit_log)
    assert (report.damaged, report.events_resent) == (0, 3)


def test_an_erased_refusal_quotes_nothing(town: Town) -> None:
    """What was asked for may name somebody."""
    upload = town.upload("a.png", metadata={"workflow": "grandma"})
    receipt = town.receipt(upload)
    assert receipt.fault
    assert "grandma" in receipt.fault.error_detail
    cancel_and_erase.erase_rejected(
        town.ctx, receipt, town.store.head("uploads", "a.png")
    )
    assert b"grandma" not in b"".join(
        data for data, _ in town.store.snapshot().values()
    )


def test_a_failure_beside_a_twins_result_is_settled(town: Town) -> None:
    """It keeps its end, and the audit log is not asked for another."""
    audit_log, data = FullAuditLog(), photo(6)
    failed, done = town.upload("a.png", data), town.upload("b.png", data)
    town.fail(failed)
    town.restore(done)
    town.later()
    town.sweep(audit_log=audit_log)
    assert {end.upload_id: end.at_least for end in audit_log.asked} == {
        failed: "rejected",
        done: "duplicate",
    }
