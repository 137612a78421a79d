"""Ends without a result: whose reason is broken, is another upload's, or says that the owner took the photo back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from handlers import erasure
from handlers.api import withdraw
from handlers.context import Context
from handlers.logbook import Ending
from handlers.on_sweep import Memory
from handlers.retelling import read_reason, read_receipt
from handlers.sweep import reasons
from shared import keys
from shared.broker import topology
from shared.documents import Reason, Receipt
from shared.errors import Code, NotFound
from tests.unit.sweep_town import Town, TownDiary, photo


class FullDiary(TownDiary):
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
    withdraw.erase(town.ctx, receipt.task_id or "", [receipt])


def left(town: Town, receipt: Receipt) -> list[str]:
    """What there is of a photo, wherever it lies."""
    task = receipt.task_id or ""
    there = {bucket: set(town.store.keys(bucket)) for bucket in ("uploads", "results", "quarantine", "archive")}
    of_task = [key for key in (keys.result(task), keys.preview(task), keys.record(task)) if key in there["results"]]
    copies = [key for key in there["quarantine"] if key != keys.reason(receipt.upload_id)]
    return [*of_task, *copies, *(there["uploads"] & {receipt.source.key}), *there["archive"]]


@pytest.mark.parametrize("ended", ["restored", "failed", "shared"])
def test_an_erasure_that_the_log_missed_is_told_again(town: Town, ended: str) -> None:
    """The log knows an end of the photo, but not this one: the broker was away, or lost it."""
    diary, memory, data = FullDiary(), Memory(), photo(8)
    if ended == "shared":
        town.restore(town.upload("twin.png", data))
    upload = town.upload("grandma.png", data)
    town.restore(upload) if ended == "restored" else town.fail(upload) if ended == "failed" else None
    town.later()
    town.recorded()
    assert town.sweep(diary=diary, memory=memory).retold == 0
    town.publisher.refused = {topology.LOG}
    erase(town, upload)
    town.publisher.refused = set()
    town.later()
    assert town.sweep(diary=diary, memory=memory).retold == 1
    told = town.recorded()
    assert [event.fields.get("error_code") for event in told] == [None, Code.ERASED]
    diary.known.add(upload)
    town.later()
    assert town.sweep(diary=diary, memory=memory).retold == 0
    assert town.sweep(diary=diary, memory=memory).retold == 0


def test_the_diary_is_asked_for_the_very_end(town: Town) -> None:
    """A failure told before a success, or before another failure, is not it."""
    diary = FullDiary()
    done, again = town.upload("done.png"), town.upload("again.png")
    town.restore(done)
    town.fail(again)
    reason = town.reason(again).model_copy(update={"retries": 2})
    town.store.put("quarantine", keys.reason(again), reason.to_bytes(), "application/json")
    town.later()
    town.sweep(diary=diary)
    assert {end.upload_id: (end.least, end.retries) for end in diary.asked} == {
        done: ("duplicate", 0), again: ("rejected", 2),
    }  # fmt: skip


@pytest.mark.parametrize("stored", ["result", "record"])
def test_what_a_dead_worker_left_of_an_erased_photo_goes(town: Town, stored: str) -> None:
    """It had stored its result after the erasure looked, and died before it asked: nothing may come back."""
    memory, upload = Memory(), town.upload("grandma.png")
    receipt, claim = town.receipt(upload), town.claim(upload)
    town.lose()
    erase(town, upload)
    town.store.put("results", keys.receipt(upload), receipt.to_bytes(), "application/json")
    town.restore(upload)
    if stored == "result":
        town.store.delete("results", keys.record(receipt.task_id or ""))
    town.store.put("results", keys.receipt(upload), erasure.blank(receipt).to_bytes(), "application/json")
    town.later(20)
    town.claims().renew(claim)
    town.later(20)
    town.sweep(memory=memory)
    assert keys.result(claim.task_id) in left(town, receipt)  # while it lives the worker does it itself
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
    town.store.put("results", keys.receipt(upload), receipt.to_bytes()[:-3], "application/json")
    for _ in range(2):
        town.later(7200)
        town.sweep()
    assert len(town.store.keys("archive")) == 3
    erase(town, upload)
    assert left(town, receipt) == []


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


@pytest.mark.parametrize("remembers", [True, False])
@pytest.mark.parametrize("after", ["_erase_previews", "take_away_results", "delete_copies", "write_again"])
def test_an_erasure_that_broke_off_is_finished(
    town: Town, monkeypatch: pytest.MonkeyPatch, after: str, remembers: bool
) -> None:
    """Once its reason is written, whoever is killed: the photo had been settled for the sweep long before."""
    memory, diary = Memory(), FullDiary()
    upload = town.upload("grandma.png", metadata={"params": '{"scale": 2}'})
    receipt = town.receipt(upload)
    town.restore(upload)
    town.store.put("quarantine", f"{upload}/grandma.png", b"copy", "image/png")
    for _ in range(3):
        town.later()
        town.recorded()
        town.sweep(memory=memory if remembers else Memory(), diary=diary)

    def killed(*_: Any) -> None:
        raise RuntimeError("killed")

    module = withdraw if after == "_erase_previews" else erasure
    monkeypatch.setattr(module, after, killed)
    with pytest.raises(RuntimeError):
        erase(town, upload)
    monkeypatch.undo()
    town.later()
    town.sweep(memory=memory if remembers else Memory(), diary=diary)
    assert left(town, receipt) == []
    assert "grandma" not in town.receipt(upload).model_dump_json()
    assert town.receipt(upload).workflow != receipt.workflow


def test_a_damaged_reason_is_made_anew(town: Town) -> None:
    """The photo stays ended, as far as anybody can say why; it is not restored against its owner's will."""
    diary, uploads = TownDiary(), [town.upload(f"{n}.png") for n in range(3)] + [town.upload("text.png", b"no photo")]
    rejected = town.reason(uploads[3])
    town.fail(uploads[0])
    town.fail(uploads[1])
    erase(town, uploads[1])
    for upload, data in zip((uploads[0], uploads[1], uploads[3]), (b"", b'{"v": 2}', b'{"v": 1, "upl'), strict=True):
        town.store.put("quarantine", keys.reason(upload), data, "application/json")
    town.later()
    town.recorded()
    report = town.sweep(diary=diary)
    assert (report.damaged, report.repaired, report.waiting) == (3, 3, 1)
    assert [town.reason(upload).error_code for upload in uploads[:2]] == [Code.BAD_DOCUMENT, Code.ERASED]
    assert town.reason(uploads[3]) == rejected
    assert town.store.read("archive", f"damaged/{keys.reason(uploads[3])}").startswith(b'{"v"')
    town.later()
    report = town.sweep(diary=diary)
    assert (report.damaged, report.retold) == (0, 3)


def test_an_erased_refusal_quotes_nothing(town: Town) -> None:
    """What was asked for may name somebody."""
    upload = town.upload("a.png", metadata={"workflow": "grandma"})
    receipt = town.receipt(upload)
    assert receipt.fault
    assert "grandma" in receipt.fault.error_detail
    withdraw.erase_rejected(town.ctx, receipt, town.store.head("uploads", "a.png"))
    assert b"grandma" not in b"".join(data for data, _ in town.store.snapshot().values())


def test_the_reason_of_an_earlier_upload_at_the_key_ends_nobody(town: Town) -> None:
    """A worker was late with the failure of the first: the second waits on, and its lost message is published again."""
    data, memory = photo(4), Memory()
    upload = town.upload("a.png", data)
    first = town.receipt(upload)
    town.later()
    assert town.upload("a.png", data, {"workflow": "dehaze"}) == upload
    second = town.receipt(upload)
    town.fail(upload)
    late = town.reason(upload).model_copy(update={"source": first.source})
    town.store.put("quarantine", keys.reason(upload), late.to_bytes(), "application/json")
    town.lose()
    for _ in range(2):
        town.later()
        town.sweep(memory=memory)
    assert town.messages() == [upload]
    assert town.receipt(upload) == second
    with pytest.raises(NotFound):
        town.reason(upload)


def test_the_end_of_a_later_upload_at_the_key_stays(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes come again, and fail again, while the sweep is about to read why the first ones did."""
    data = photo(4)
    upload = town.upload("a.png", data)
    town.fail(upload)
    town.later()

    def read_late(ctx: Context, ident: str) -> Reason:
        town.upload("a.png", data)
        town.fail(upload)
        return read_reason(ctx, ident)

    monkeypatch.setattr(reasons, "read_reason", read_late)
    town.sweep()
    assert town.reason(upload).source == town.receipt(upload).source


def test_an_erasure_takes_no_later_upload_at_the_key(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes come again while the sweep is about to finish the erasure of the first ones."""
    data = photo(4)
    upload = town.upload("a.png", data)
    erase(town, upload)
    town.later()

    def read_late(ctx: Context, ident: str) -> Receipt:
        town.upload("a.png", data)
        return read_receipt(ctx, ident)

    monkeypatch.setattr(reasons, "read_receipt", read_late)
    town.sweep()
    assert town.receipt(upload).source.key == "a.png"
    assert town.store.read("uploads", "a.png") == data


def test_a_failure_beside_a_twins_result_is_settled(town: Town) -> None:
    """It keeps its end, and the diary is not asked for another."""
    diary, data = FullDiary(), photo(6)
    failed, done = town.upload("a.png", data), town.upload("b.png", data)
    town.fail(failed)
    town.restore(done)
    town.later()
    town.sweep(diary=diary)
    assert {end.upload_id: end.least for end in diary.asked} == {failed: "rejected", done: "duplicate"}


def test_a_duplicate_whose_result_was_taken_back_is_restored(town: Town) -> None:
    """It was decided on in the moment between a record and its erasure."""
    data, memory = photo(3), Memory()
    first = town.upload("a.png", data)
    town.restore(first)
    erased = town.receipt(first)
    second = town.upload("b.png", data)
    withdraw.erase(town.ctx, erased.task_id or "", [erased])
    town.later()
    town.lose()
    assert town.sweep(memory=memory).republished == 1
    assert (town.messages(), town.receipt(second).decision) == ([second], "queued")
    town.later()
    assert town.sweep(memory=memory).waiting == 1
    town.restore(second)
    town.later()
    assert town.sweep(memory=memory).waiting == 0


def test_an_erasure_during_a_republication_stays(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
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
