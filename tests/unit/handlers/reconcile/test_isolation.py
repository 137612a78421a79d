"""Whatever is wrong with one object costs only that object: the pass ends, and the
others are found.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from handlers.on_upload import on_upload
from handlers.reconcile import uploads
from shared.broker import topology
from shared.errors import BrokerUnavailable, Code, PermanentError, StorageUnavailable
from shared.s3.store import ObjectInfo
from shared.uploads import keys
from shared.uploads.claims import ClaimNote
from shared.uploads.documents import Receipt
from tests.support.reconcile_world import CountingStore, Town, TownAuditLog

Fault = Callable[[], Exception]
FAULTS: dict[str, Fault] = {
    "refused": lambda: PermanentError(
        Code.INTERNAL, "the store refused uploads/IMG_private.jpg: InvalidRequest"
    ),
    "out of reach": lambda: StorageUnavailable("AccessDenied"),
    "a bug": lambda: IndexError("IMG_private.jpg"),
}
LOST = {"a.png", "z.png"}


class Faulty(CountingStore):
    """A store of which one kind of call about one object fails. `asked`: all such calls
    of a pass.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.asked: dict[tuple[str, str, str], None] = {}
        self.broken: tuple[str, str, str] | None = None
        self.fault: Fault = FAULTS["a bug"]

    def _asked(self, call: str, bucket: str, key: str) -> None:
        self.asked[call, bucket, key] = None
        if self.broken == (call, bucket, key):
            raise self.fault()

    def open(self, bucket: str, key: str, version: str | None = None) -> Any:
        self._asked("open", bucket, key)
        return super().open(bucket, key, version)

    def read(self, bucket: str, key: str, version: str | None = None) -> bytes:
        self._asked("read", bucket, key)
        return super().read(bucket, key, version)

    def head(self, bucket: str, key: str, version: str | None = None) -> ObjectInfo:
        self._asked("head", bucket, key)
        return super().head(bucket, key, version)

    def put(self, bucket: str, key: str, *args: Any, **kwargs: Any) -> ObjectInfo:
        self._asked("put", bucket, key)
        return super().put(bucket, key, *args, **kwargs)

    def copy(self, source: ObjectInfo, bucket: str, key: str) -> None:
        self._asked("copy", source.bucket, source.key)
        super().copy(source, bucket, key)

    def delete(self, bucket: str, key: str, version: str | None = None) -> None:
        self._asked("delete", bucket, key)
        super().delete(bucket, key, version)

    def end(self, upload: Any) -> None:
        self._asked("end", upload.bucket, upload.key)
        super().end(upload)


class PoisonedAuditLog(TownAuditLog):
    """Cannot be asked about one upload."""

    def __init__(self) -> None:
        super().__init__()
        self.poison = ""

    def ended(self, ends: Any) -> set[str]:
        if self.poison in {end.upload_id for end in ends}:
            raise ValueError("a value out of range")
        return super().ended(ends)


def city() -> tuple[Town, Faulty]:
    """Something for every stage of a pass to do, and two uploads, `a.png` and `z.png`,
    whose notification was lost.
    """
    town = Town(multipart_max_age_s=60.0, callback_http=True)
    store = Faulty(town.clock)
    town.store = store
    object.__setattr__(town.ctx, "store", store)
    store.begin("uploads", "half.png")
    late = town.upload("late.png", metadata={"callback": "http://example.com/"})
    town.fail(late)
    whole, short, orphan = (
        town.upload("whole.png"),
        town.upload("short.png"),
        town.upload("orphan.png"),
    )
    town.restore(whole)
    town.restore(orphan)
    store.delete("results", keys.record(town.receipt(orphan).task_id or ""))
    town.fail(orphan)
    task = town.receipt(short).task_id or ""
    store.put("results", keys.record(task), b"", "application/json")
    store.put("results", keys.result(task), b"", "image/png")
    damaged, gone, unreasoned = (
        town.upload("damaged.png"),
        town.upload("gone.png"),
        town.upload("unreasoned.png"),
    )
    store.put("results", keys.receipt(damaged), b"{", "application/json")
    town.restore(gone)
    store.put("results", keys.receipt(gone), b"{", "application/json")
    store.delete("uploads", "gone.png")
    store.put("quarantine", keys.reason(unreasoned), b"{", "application/json")
    claimed, ended, odd = (
        town.upload("claimed.png"),
        town.upload("ended.png"),
        town.upload("odd.png"),
    )
    for upload in (claimed, ended, odd):
        town.claim(upload)
    town.fail(ended)
    store.put(
        "results",
        keys.claim(town.receipt(odd).task_id or "", 1),
        b"{",
        "application/json",
    )
    town.upload("lost.png")
    town.lose()
    town.recorded()
    town.put("a.png")
    town.put("z.png")
    town.later(4000)
    store.asked.clear()
    return town, store


def found(town: Town) -> dict[str, Receipt]:
    """Which of the two uploads have a receipt by now."""
    names = [key for key in town.store.keys("results") if key.startswith("receipts/")]
    receipts = [
        Receipt.from_bytes(data, key)
        for key in names
        if (data := town.store.read("results", key)) != b"{"
    ]
    return {
        receipt.source.key: receipt
        for receipt in receipts
        if receipt.source.key in LOST
    }


def calls_of_a_pass() -> tuple[list[tuple[str, str, str]], dict[str, Receipt]]:
    town, store = city()
    town.sweep(audit_log=PoisonedAuditLog())
    assert found(town).keys() == LOST
    return list(store.asked), found(town)


@pytest.mark.parametrize("fault", FAULTS)
def test_no_call_about_one_object_ends_a_pass(fault: str) -> None:
    """Each call that a pass makes about an object fails once: both lost uploads are
    found, but for the one itself.
    """
    calls, ends = calls_of_a_pass()
    assert len(calls) > 60
    for broken in calls:
        town, store = city()
        store.broken, store.fault = broken, FAULTS[fault]
        with capture_logs() as lines:
            town.sweep(audit_log=PoisonedAuditLog())
        store.broken = None
        for name in LOST - found(town).keys():
            assert any(
                part in broken[2]
                for part in (name, ends[name].upload_id, ends[name].task_id or "")
            ), broken
        assert "private" not in str(lines)
        town.later()
        town.sweep(audit_log=PoisonedAuditLog())
        assert found(town).keys() == LOST, broken


def test_a_fault_is_counted_and_told_without_a_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    town = Town()
    for name in ("a.png", "private.png", "z.png"):
        town.put(name)
    town.later()

    def broken(event: Any, ctx: Any) -> Any:
        if event.key == "private.png":
            raise LookupError("private.png")
        return on_upload(event, ctx)

    monkeypatch.setattr(uploads, "on_upload", broken)
    with capture_logs() as lines:
        report = town.sweep()
    assert (report.notifications_missed, report.failed) == (2, 1)
    [line] = [line for line in lines if line["event"] == "sweep.object_failed"]
    assert (line["stage"], line["error"]) == ("uploads", "LookupError")
    assert "private" not in str(lines)


@pytest.mark.parametrize(
    "name", ["user", "filename", "params", "workflow", "priority", "callback"]
)
def test_a_value_that_is_no_text_hides_no_upload(name: str) -> None:
    town = Town()
    for number in range(3):
        town.put(
            f"{number}.png", metadata={name: "=?utf-7?q?+2AA-?="} if number == 0 else {}
        )
    town.later()
    report = town.sweep()
    assert (report.notifications_missed, report.failed) == (3, 0)
    town.later()
    assert town.sweep().notifications_missed == 0


def test_an_end_that_the_audit_log_cannot_look_up_hides_no_other() -> None:
    town, audit_log = Town(), PoisonedAuditLog()
    uploads = [town.upload(f"{number}.png") for number in range(5)]
    for upload in uploads:
        town.fail(upload)
    town.lose()
    town.recorded()
    audit_log.poison = uploads[2]
    town.later()
    report = town.sweep(audit_log=audit_log)
    assert (report.events_resent, report.failed) == (5, 1)
    audit_log.known = set(uploads)
    town.recorded()
    town.later()
    report = town.sweep(audit_log=audit_log)
    assert report.failed == 1


def test_a_service_that_is_away_still_ends_the_pass() -> None:
    """So that the next one begins where this one began."""
    town = Town()
    town.upload("a.png")
    town.lose()
    town.later()
    town.publisher.refused = {topology.BULK}
    with pytest.raises(BrokerUnavailable):
        town.sweep()
    town.publisher.refused = set()
    town.store.unavailable = True
    with pytest.raises(StorageUnavailable):
        town.sweep()


def test_clearing_away_goes_on_beside_an_object_out_of_reach() -> None:
    """But for the claim of that very upload: perhaps it waits."""
    town = Town()
    ended, hidden = town.upload("ended.png"), town.upload("hidden.png")
    for upload in (ended, hidden):
        town.claim(upload)
    claims = town.claims()
    kept = keys.claim(town.receipt(hidden).task_id or "", 1)
    waiting = ClaimNote.from_bytes(town.store.read("results", kept), kept).model_copy(
        update={"state": "requeued"}
    )
    town.store.put("results", kept, waiting.to_bytes(), "application/json")
    assert claims
    town.restore(ended)
    town.store.out_of_reach = {keys.receipt(hidden)}
    town.later(3600)
    report = town.sweep()
    assert (report.failed, report.claims_deleted) == (1, 1)
    assert [key for key in town.store.keys("results") if key.startswith("claims/")] == [
        kept
    ]
