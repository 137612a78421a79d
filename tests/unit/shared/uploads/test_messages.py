"""Messages: frozen, versioned, small; whatever is not one is a single kind of error."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import MessageError
from shared.uploads.messages import MAX_MESSAGE_BYTES, LogEvent, RestoreTask

AT = datetime(2026, 1, 2, tzinfo=UTC)
TASK = RestoreTask(task_id="t", upload_id="u", priority="bulk", queued_at=AT)


def test_a_message_survives_the_wire():
    assert RestoreTask.decode(TASK.encode()) == TASK


def test_a_newer_writer_may_add_fields():
    body = json.dumps({**json.loads(TASK.encode()), "added_later": 1}).encode()
    assert RestoreTask.decode(body) == TASK


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "body"),
        (b"\xff\xfe", "body"),
        (b"[]", "body"),
        (b'{"v":1}', "task_id"),
        (TASK.encode().replace(b'"v":1', b'"v":2'), "version 2"),
        (b"[" * MAX_MESSAGE_BYTES, "body"),
        (b" " * (MAX_MESSAGE_BYTES + 1), "2048"),
    ],
)
def test_what_is_not_a_message_is_a_message_error_that_says_why(body, why):
    with pytest.raises(MessageError, match=why):
        RestoreTask.decode(body)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(body):
    with pytest.raises(MessageError):
        RestoreTask.decode(body)


def test_a_message_refers_and_does_not_carry():
    """Over 2 KiB is refused where it is written, not where it is read."""
    event = LogEvent(
        event_id="e",
        upload_id="u",
        upload_time=AT,
        kind="queued",
        at=AT,
        fields={"x": "é" * 2000},
    )
    with pytest.raises(MessageError, match="2048"):
        event.encode()
