"""How an upload ended, for every combination of receipt, record, reason and claim."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from shared.errors import Code, NotFound, ObjectUnreadable, PermanentError
from shared.runtime.settings import Settings
from shared.uploads import keys
from shared.uploads.claims import ClaimNote
from shared.uploads.documents import (
    Document,
    Reason,
    Receipt,
    Record,
    Source,
    Superseded,
    WorkflowRef,
)
from shared.uploads.outcome import Outcome
from shared.uploads.ref import UploadRef, version_of
from shared.uploads.store import UploadStore
from tests.support.memory_store import MemoryStore
from tests.support.records import record_of
from tests.support.refusals import BROKEN

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=1)
UPLOAD, TWIN, TASK = "upload", "twin", "task"
WORKFLOW = WorkflowRef(name="fast", version=1, params={}, signature="0" * 16)

RECORDS = ("own", "twin", "damaged", "missing")
CLAIMS = ("missing", "working", "failed", "damaged")
TABLE = """
receipt     reason     own        twin       damaged    missing

queued      missing    success    duplicate  error      -
queued      own        success    failed     error      failed
queued      other      success    duplicate  error      -
queued      cancelled  success    cancelled  error      cancelled
queued      erased     erased     erased     erased     erased
queued      damaged    error      error      error      error

retried     missing    success    duplicate  error      -
retried     own        success    duplicate  error      -
retried     other      success    duplicate  error      -
retried     cancelled  success    cancelled  error      cancelled
retried     erased     erased     erased     erased     erased
retried     damaged    error      error      error      error

duplicate   missing    success    duplicate  error      -
duplicate   own        success    failed     error      failed
duplicate   other      success    duplicate  error      -
duplicate   cancelled  success    cancelled  error      cancelled
duplicate   erased     erased     erased     erased     erased
duplicate   damaged    error      error      error      error

rejected    missing    rejected   rejected   rejected   rejected
rejected    own        rejected   rejected   rejected   rejected
rejected    other      rejected   rejected   rejected   rejected
rejected    cancelled  rejected   rejected   rejected   rejected
rejected    erased     erased     erased     erased     erased
rejected    damaged    error      error      error      error

superseded  missing    success    failed     error      failed
superseded  own        success    failed     error      failed
superseded  other      success    failed     error      failed
superseded  cancelled  success    cancelled  error      cancelled
superseded  erased     erased     erased     erased     erased
superseded  damaged    error      error      error      error

shared      missing    success    duplicate  error      failed
shared      own        success    failed     error      failed
shared      other      success    duplicate  error      failed
shared      cancelled  success    cancelled  error      cancelled
shared      erased     erased     erased     erased     erased
shared      damaged    error      error      error      error

blanked     missing    erased     erased     erased     erased
blanked     own        erased     erased     erased     erased
blanked     other      erased     erased     erased     erased
blanked     cancelled  erased     erased     erased     erased
blanked     erased     erased     erased     erased     erased
blanked     damaged    error      error      error      error

another     missing    duplicate  duplicate  error      -
another     own        duplicate  duplicate  error      -
another     other      failed     failed     error      failed
another     cancelled  duplicate  duplicate  error      -
another     erased     duplicate  duplicate  error      -
another     damaged    error      error      error      error
"""
"""`own`, `cancelled` and `erased` are about the upload of noon, `other` is about the one
that came a minute later at the same key with the same bytes; `another` asks for that
one, all others ask for the one of noon. `shared`: a duplicate that was superseded;
`blanked`: superseded, and erased since.
"""
ROWS = [line.split() for line in TABLE.splitlines()[2:] if line]


def source(upload_time: datetime = NOON, key: str = "a.png") -> Source:
    return Source(bucket="u", key=key, etag="e", bytes=1, upload_time=upload_time)


def receipt(kind: str) -> Receipt:
    asked = Receipt(
        upload_id=UPLOAD,
        decision="queued",
        source=source(LATER if kind == "another" else NOON),
        user_hash="h",
        priority="bulk",
        decided_at=NOON,
        task_id=TASK,
        workflow=WORKFLOW,
        retries=1 if kind == "retried" else 0,
    )
    if kind in ("duplicate", "rejected"):
        return asked.model_copy(update={"decision": kind})
    if kind == "superseded":
        return Superseded.of(asked)
    if kind == "shared":
        shared = asked.model_copy(update={"decision": "duplicate"})
        return Superseded.of(shared)
    if kind == "blanked":
        blanked = asked.model_copy(update={"source": source(key="erased")})
        return Superseded.of(blanked)
    return asked


def reason(kind: str) -> Reason:
    codes = {"cancelled": Code.CANCELLED, "erased": Code.ERASED}
    return Reason(
        upload_id=UPLOAD,
        task_id=TASK,
        status="failed",
        error_code=codes.get(kind, Code.DECODE_ERROR),
        error_detail="d",
        source=source(LATER if kind == "other" else NOON),
        at=LATER,
    )


def record(kind: str) -> Record:
    made = record_of(receipt("queued"), LATER, source=source(), result_sha256="s")
    return made.model_copy(update={"upload_id": UPLOAD if kind == "own" else TWIN})


def claim(kind: str) -> ClaimNote:
    state = "working" if kind == "working" else "failed"
    return ClaimNote(worker="w", upload_id=UPLOAD, state=state)


@pytest.fixture
def objects() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def uploads(objects: MemoryStore) -> UploadStore:
    return UploadStore(objects, Settings())


def lay(
    objects: MemoryStore, bucket: str, key: str, kind: str, document: Document
) -> None:
    """Have the document lie there, bytes that are none, or nothing."""
    objects.delete(bucket, key)
    if kind != "missing":
        data = b"{" if kind == "damaged" else document.to_bytes()
        objects.put(bucket, key, data, "application/json")


def status(outcome: Callable[[Receipt], Outcome | None], asked: Receipt) -> str:
    try:
        found = outcome(asked)
    except PermanentError as error:
        return "error" if error.code == Code.BAD_DOCUMENT else error.code
    return found.status if found else "-"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(row[:2]))
def test_an_upload_has_one_outcome(
    objects: MemoryStore, uploads: UploadStore, row: list[str]
) -> None:
    """A claim never changes it: an attempt that is made may still come to nothing."""
    asked_kind, reason_kind, *expected = row
    asked = receipt(asked_kind)
    reason_key = keys.reason(UPLOAD)
    lay(objects, "quarantine", reason_key, reason_kind, reason(reason_kind))
    for kind, outcome in zip(RECORDS, expected, strict=True):
        lay(objects, "results", keys.record(TASK), kind, record(kind))
        for held in CLAIMS:
            lay(objects, "results", keys.claim(TASK, 1), held, claim(held))
            assert status(uploads.outcome, asked) == outcome, (kind, held)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(row[:2]))
def test_what_cannot_be_read_shows_as_missing(
    objects: MemoryStore, uploads: UploadStore, row: list[str]
) -> None:
    """Where an outcome is only shown, not acted on."""
    asked_kind, reason_kind, *_ = row
    asked = receipt(asked_kind)
    reason_key = keys.reason(UPLOAD)
    lay(objects, "quarantine", reason_key, reason_kind, reason(reason_kind))
    expected = wanted(
        asked_kind, "missing" if reason_kind == "damaged" else reason_kind
    )
    expected["damaged"] = expected["missing"]
    for kind in RECORDS:
        lay(objects, "results", keys.record(TASK), kind, record(kind))
        assert status(uploads.readable_outcome, asked) == expected[kind], kind


def wanted(asked_kind: str, reason_kind: str) -> dict[str, str]:
    """The outcomes of a row, by record."""
    row = next(row for row in ROWS if row[:2] == [asked_kind, reason_kind])
    return dict(zip(RECORDS, row[2:], strict=True))


def test_the_table_is_whole() -> None:
    """Every receipt meets every reason, every record and every claim."""
    receipts = {row[0] for row in ROWS}
    reasons = {row[1] for row in ROWS}
    assert len(ROWS) == len(receipts) * len(reasons) == 8 * 6
    assert TABLE.split()[:6] == ["receipt", "reason", *RECORDS]


@pytest.mark.parametrize("reason_kind", ["missing", "own", "erased"])
@pytest.mark.parametrize("record_kind", RECORDS)
def test_nothing_is_known_without_a_receipt(
    objects: MemoryStore, uploads: UploadStore, record_kind: str, reason_kind: str
) -> None:
    """A receipt that is missing or damaged is an error, whatever lies beside it."""
    lay(objects, "results", keys.record(TASK), record_kind, record(record_kind))
    reason_key = keys.reason(UPLOAD)
    lay(objects, "quarantine", reason_key, reason_kind, reason(reason_kind))
    with pytest.raises(NotFound):
        uploads.receipt(UPLOAD)
    objects.put("results", keys.receipt(UPLOAD), b"{", "application/json")
    with pytest.raises(PermanentError, match=r"receipts/upload\.json") as caught:
        uploads.receipt(UPLOAD)
    assert caught.value.code == Code.BAD_DOCUMENT
    assert uploads.readable_receipt(UPLOAD) is None


@pytest.mark.parametrize("kind", ["own", "cancelled", "erased"])
def test_a_reason_tells_when_and_why(
    objects: MemoryStore, uploads: UploadStore, kind: str
) -> None:
    """The audit log, the API and webhooks call what was taken back `failed`."""
    lay(objects, "quarantine", keys.reason(UPLOAD), kind, reason(kind))
    outcome = uploads.outcome(receipt("queued"))
    assert outcome
    assert outcome.fault
    assert (outcome.at, outcome.fault.error_code) == (LATER, reason(kind).error_code)
    assert outcome.published_status == "failed"
    assert outcome.is_withdrawn == (kind != "own")


def test_a_result_comes_with_its_record(
    objects: MemoryStore, uploads: UploadStore
) -> None:
    for kind in ("own", "twin"):
        lay(objects, "results", keys.record(TASK), kind, record(kind))
        outcome = uploads.outcome(receipt("queued"))
        assert outcome
        assert (outcome.at, outcome.record) == (LATER, record(kind))


@pytest.mark.parametrize("stored", [None, "", "null"])
def test_stores_spell_no_version_in_three_ways(stored: str | None) -> None:
    assert version_of(stored) is None
    assert version_of("3sL4") == "3sL4"


def test_the_same_bytes_put_again_are_another_upload(objects: MemoryStore) -> None:
    first = objects.arrive("uploads", "a.png", b"photo", "image/png")
    objects.clock.advance(60)
    second = objects.arrive("uploads", "a.png", b"photo", "image/png")
    one, other = UploadRef.of_object(first), UploadRef.of_object(second)
    assert one.upload_id == other.upload_id
    assert one != other


@pytest.mark.parametrize("kind", ["record", "reason"])
@pytest.mark.parametrize("is_there", [True, False])
def test_what_the_store_does_not_give_counts_if_it_is_there(
    objects: MemoryStore, uploads: UploadStore, kind: str, is_there: bool
) -> None:
    """A photo is neither begun again nor forgotten for a key that is refused."""
    asked = receipt("queued")
    bucket = "results" if kind == "record" else "quarantine"
    key = keys.record(TASK) if kind == "record" else keys.reason(UPLOAD)
    if is_there:
        objects.put(bucket, key, b"{", "application/json")
    objects.put(bucket, "other/key", b"{", "application/json")
    objects.refuse(bucket, key, BROKEN, "GET")
    with pytest.raises(ObjectUnreadable):
        uploads.outcome(asked)
    assert uploads.seems_ended(asked) == is_there
