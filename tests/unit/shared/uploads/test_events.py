"""Log events derived from documents: small enough for every queue, and fit for the
database.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from handlers.audit_log.columns import Columns
from shared.errors import Code
from shared.uploads import events
from shared.uploads.documents import Fault, Reason, Receipt, Source, WorkflowRef
from shared.uploads.messages import MAX_MESSAGE_BYTES, LogEvent
from tests.support.records import record_of

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def receipt(key: str, detail: str) -> Receipt:
    source = Source(
        bucket="uploads",
        key=key,
        etag="e" * 35,
        bytes=50_000_000,
        upload_time=AT,
        sha256="5" * 64,
        width=40_000,
        height=40_000,
    )
    params = {f"parameter_{n}": 1023.125 for n in range(12)}
    return Receipt(
        upload_id="u" * 36,
        decision="rejected",
        task_id="7" * 36,
        user_hash="4" * 64,
        priority="bulk",
        decided_at=AT,
        source=source,
        workflow=WorkflowRef(
            name="oldphoto", version=99, params=params, signature="5" * 16
        ),
        fault=Fault(error_code=Code.UNSUPPORTED_FORMAT, error_detail=detail),
    )


@pytest.mark.parametrize(
    "name", ["a", "🖼️" * 300, "中" * 1000, '"' * 1000, "\\" * 400, "\x01" * 300]
)
@pytest.mark.parametrize("detail", ["short", "x" * 1000, "中" * 1000, '"' * 900])
def test_every_event_fits_into_a_message(name: str, detail: str) -> None:
    """Whatever people call their files, the event stays under 2 KiB and says the same
    when it is read back.
    """
    of_receipt = events.of_receipt(receipt(f"in/{name}", detail), "results")
    source = receipt(f"in/{name}", detail).source
    of_reason = events.of_reason(
        Reason(
            upload_id="u",
            status="failed",
            error_code=Code.INTERNAL,
            error_detail=detail,
            source=source,
            attempts=5,
            at=AT,
            engine="onnxruntime+torch",
            device="NVIDIA RTX PRO 6000 Blackwell Workstation Edition",
            peak_memory_bytes=2**40,
            peak_device_memory_bytes=2**40,
        )
    )
    for event in (of_receipt, of_reason):
        assert len(event.encode()) <= MAX_MESSAGE_BYTES
        assert LogEvent.decode(event.encode()) == event
        assert len(event.fields["image_filename"]) <= 255


def test_ordinary_names_are_kept_whole() -> None:
    """255 characters are enough for any file system; joiners and wide blanks belong to
    a name.
    """
    for name in ("n" * 251 + ".jpg", "家族\u3000写真.jpg", "👩\u200d👧.png"):
        assert (
            events.of_receipt(receipt(f"in/{name}", "d"), "results").fields[
                "image_filename"
            ]
            == name
        )


def test_what_was_cut_shows_it() -> None:
    """An ellipsis stands for the rest."""
    fields = events.of_receipt(receipt("n" * 300, "d" * 500), "results").fields
    assert fields["image_filename"] == "n" * 254 + "…"
    assert fields["error_detail"] == "d" * 399 + "…"


def test_control_characters_are_replaced() -> None:
    """A NUL breaks a database row, an escape sequence a terminal."""
    assert (
        events.of_receipt(receipt("a\x00b\x1b[31m\n.jpg", "d"), "results").fields[
            "image_filename"
        ]
        == "a�b�[31m�.jpg"
    )


def test_a_photo_of_a_gpu_says_how_much_of_its_memory_it_took() -> None:
    """In a column of the audit log; one of the CPU says nothing, as do old records."""
    queued = receipt("in/a.jpg", "").model_copy(update={"decision": "queued"})
    on_cpu = record_of(queued, AT)
    on_gpu = record_of(queued, AT, peak_device_memory_bytes=5)
    told = [events.of_record(one, "results").fields for one in (on_cpu, on_gpu)]
    name = "peak_device_memory_bytes"
    assert name not in told[0]
    assert told[1][name] == 5
    assert name in Columns.model_fields
