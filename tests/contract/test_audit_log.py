"""The audit log on a real PostgreSQL: whatever the order, repetition and delay of its
events, it says the same.
"""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise, permutations
from typing import Any
from uuid import UUID, uuid4

import psycopg2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.audit_log.columns import Row
from handlers.audit_log.database import AuditLog
from handlers.audit_log.values import Ending, Filter, Written
from shared.runtime.settings import Settings
from shared.uploads import identity
from shared.uploads.ref import UploadRef
from tests.support.audit_log_events import (
    AGAIN,
    NOT_SHARED,
    NOW,
    SOURCE,
    event,
    life,
    row,
    select,
)


def test_every_order_gives_the_same_row(audit_log: AuditLog) -> None:
    """All 720 orders of six events of one upload end in one and the same row."""
    orders = [
        [life(upload)[i] for i in order]
        for order in permutations(range(6))
        if (upload := str(uuid4()))
    ]
    user = uuid4().hex * 2
    for order in orders:
        for told in order:
            told.fields.update(user_id=user)
    for step in zip(*orders, strict=True):
        assert audit_log.write(step).added == 720
    rows = [
        found.model_dump(exclude=NOT_SHARED)
        for found in audit_log.page(Filter(user), 1000)
    ]
    assert len(rows) == 720
    assert all(found == rows[0] for found in rows)
    assert rows[0]["status"] == "success"
    assert rows[0]["attempts"] == 6
    assert rows[0]["result_url"] == "s3://results/processed/new.png"
    assert rows[0]["params"] == {"scale": 4, "note": None}
    assert rows[0]["error_code"] is None


@pytest.mark.parametrize(
    ("told", "status", "attempts", "code"),
    [
        (4, "failed", 5, "attempts_exhausted"),
        (5, "queued", None, None),
        (6, "processing", 1, None),
        (7, "failed", 2, "decode_error"),
    ],
)
def test_a_retry_withdraws_the_failure_before_it(
    audit_log: AuditLog, told: int, status: str, attempts: int | None, code: str | None
) -> None:
    """A photo put back by a person is queued again, works again, may fail again: in
    whatever order that is told.
    """
    for order in (
        [*range(told)],
        [*range(told)][::-1],
        [*range(1, told), 0],
        [*range(4, told), *range(4)],
    ):
        upload = str(uuid4())
        for i in order:
            audit_log.write([event(upload, *AGAIN[i])])
        found = row(audit_log, upload)
        assert (found["status"], found["attempts"], found["error_code"]) == (
            status,
            attempts,
            code,
        )
        assert found["retries"] == (told > 4)
    audit_log.write([event(upload, "success", 20, {"result_url": "s3://results/x"})])
    assert row(audit_log, upload)["status"] == "success"


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_repetition_and_batches_do_not_matter(url: str, data: st.DataObject) -> None:
    """Any events of a life, any of them repeated, in any order and any batches: the row
    of their set.
    """
    book = AuditLog(Settings(database_url=url))
    numbers = st.sampled_from(range(6))
    some = data.draw(st.lists(numbers, min_size=1, max_size=12))
    cuts = data.draw(st.sets(st.integers(1, 11), max_size=3))
    shuffled = str(uuid4())
    ordered = str(uuid4())
    events = [life(shuffled)[number] for number in some]
    bounds = [0, *sorted(cuts), len(events)]
    for begin, end in pairwise(bounds):
        book.write(events[begin:end])
    in_order = sorted(set(some))
    book.write([life(ordered)[number] for number in in_order])
    assert row(book, shuffled) == row(book, ordered)
    book.close()


def test_writers_side_by_side_lose_nothing(url: str) -> None:
    """Four writers tell the events of the same uploads at the same time; each row is
    the sum of all of them.
    """
    uploads = [str(uuid4()) for _ in range(20)]
    books = [AuditLog(Settings(database_url=url)) for _ in range(4)]

    def tell(number: int) -> None:
        for upload in uploads:
            books[number].write(life(upload)[number::4])

    threads = [threading.Thread(target=tell, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = str(uuid4())
    books[0].write(life(alone))
    assert all(row(books[0], upload) == row(books[0], alone) for upload in uploads)
    for book in books:
        book.close()


def test_a_repeated_fact_changes_nothing(audit_log: AuditLog, url: str) -> None:
    """Not even the time of the last change."""
    upload = str(uuid4())
    assert audit_log.write(life(upload)) == Written(added=6)
    before = select(
        url, "SELECT * FROM darkroom.restoration_log WHERE upload_id = %s", upload
    )
    assert audit_log.write(life(upload)) == Written(repeated=6)
    assert (
        select(
            url, "SELECT * FROM darkroom.restoration_log WHERE upload_id = %s", upload
        )
        == before
    )


def test_the_errors_are_those_of_the_end(audit_log: AuditLog) -> None:
    """A photo that failed once and was restored later has no error; one that failed has
    its own.
    """
    restored, failed = str(uuid4()), str(uuid4())
    audit_log.write(life(restored))
    audit_log.write(life(failed)[:4])
    assert row(audit_log, restored)["error_detail"] is None
    assert (row(audit_log, failed)["status"], row(audit_log, failed)["error_code"]) == (
        "failed",
        "attempts_exhausted",
    )


def test_unknown_fields_stay_in_the_event(audit_log: AuditLog) -> None:
    """A newer emitter may tell more than this release has columns for; `status` is
    never taken from the fields.
    """
    upload = str(uuid4())
    audit_log.write(
        [
            event(
                upload,
                "queued",
                fields={"mood": "sepia", "status": "success", "width": 7},
            )
        ]
    )
    rows, events = audit_log.task(UUID(identity.task_id("u", upload, "s")))
    assert (rows[0].status, rows[0].width) == ("queued", 7)
    assert events[0].fields == {"mood": "sepia", "status": "success", "width": 7}


@pytest.mark.parametrize("order", [1, -1])
def test_an_erased_photo_is_quoted_nowhere(audit_log: AuditLog, order: int) -> None:
    """In whatever order it is told: not by its name, nor by a fault that repeats what
    was asked for.
    """
    upload = str(uuid4())
    refused = {
        **SOURCE,
        "error_code": "bad_parameter",
        "error_detail": "scale='grandma' is not a number",
    }
    erased = {"error_code": "erased", "error_detail": "its owner had it erased"}
    audit_log.write(
        [event(upload, "rejected", 1, refused), event(upload, "failed", 2, erased)][
            ::order
        ][:1]
    )
    audit_log.write(
        [event(upload, "rejected", 1, refused), event(upload, "failed", 2, erased)]
    )
    rows, events = audit_log.task(UUID(identity.task_id("u", upload, "s")))
    assert "grandma" not in str([rows, events])
    assert (rows[0].error_code, rows[0].error_detail) == (
        "erased",
        "its owner had it erased",
    )


POISON: dict[str, dict[str, Any]] = {
    "an id that is none": {"task_id": "not-a-uuid"},
    "text for a number": {"fields": {"width": "wide"}},
    "a number beyond the column": {"fields": {"attempts": 2**31}},
    "a negative size": {"fields": {"bytes": -1}},
    "a hash that is none": {"fields": {"sha256": "xyz"}},
    "NUL in a column": {"fields": {"engine": "nc\x00nn"}},
    "NUL in an unknown field": {"fields": {"mood": ["se\x00pia"]}},
    "infinity in an unknown field": {"fields": {"mood": float("inf")}},
    "half a character": {"fields": {"mood": "\ud800", "\udfff": 1}},
    "a time before all time": {
        "upload_time": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))
    },
    "a time after all time": {
        "at": datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-14)))
    },
    "a fraction of a retry": {"fields": {"retries": 1.0}},
    "a retry that is none": {"fields": {"retries": True}},
    "no sequence of retries": {"fields": {"retries": [1]}},
}


@pytest.mark.parametrize("fault", POISON)
def test_a_bad_event_is_set_aside_and_holds_nobody_up(
    audit_log: AuditLog, url: str, fault: str
) -> None:
    """Its neighbours are written, it lies in audit_reject, once, with a reason; the
    next batch is not troubled.
    """
    uploads = [str(uuid4()) for _ in range(9)]
    batch = [event(upload, "queued", fields=SOURCE) for upload in uploads]
    bad = event(str(uuid4()), "queued", **POISON[fault])
    batch.insert(4, bad)
    before = select(url, "SELECT count(*) FROM darkroom.audit_reject")[0][0]
    assert audit_log.write(batch) == Written(added=9, rejected=1)
    assert audit_log.write(batch) == Written(repeated=9, rejected=1)
    assert select(url, "SELECT count(*) FROM darkroom.audit_reject")[0][0] == before + 1
    found = select(
        url,
        "SELECT reason FROM darkroom.audit_reject WHERE body LIKE %s",
        f"%{bad.event_id}%",
    )
    assert found[0][0]
    assert all(row(audit_log, upload)["status"] == "queued" for upload in uploads)


def partition_of(url: str, upload_id: str) -> str:
    statement = """SELECT c.relname FROM darkroom.restoration_log l JOIN pg_class c ON c.oid = l.tableoid
                   WHERE l.upload_id = %s"""
    found = select(url, statement, upload_id)
    return str(found[0][0])


def test_each_month_has_its_partition(audit_log: AuditLog, url: str) -> None:
    """By UTC, to the microsecond; months that no clock shows stay in the default
    partition.
    """
    expected = {
        datetime(2025, 12, 31, 23, 59, 59, 999999, UTC): "restoration_log_2025_12",
        datetime(2026, 1, 1, tzinfo=UTC): "restoration_log_2026_01",
        datetime(9999, 1, 1, tzinfo=UTC): "restoration_log_default",
        datetime(1980, 1, 1, tzinfo=UTC): "restoration_log_default",
    }
    uploads = {moment: str(uuid4()) for moment in expected}
    audit_log.write(
        [
            event(upload, "queued", upload_time=moment)
            for moment, upload in uploads.items()
        ]
    )
    assert {
        moment: partition_of(url, upload) for moment, upload in uploads.items()
    } == expected


def test_a_new_partition_takes_its_rows_from_the_default(
    audit_log: AuditLog, url: str
) -> None:
    """Rows that came in before the partition of their month was made move into it."""
    upload = str(uuid4())
    select(
        url,
        "INSERT INTO darkroom.restoration_log (upload_id, upload_time, status) VALUES (%s, %s, 'queued') "
        "RETURNING 1",
        upload,
        datetime(2024, 5, 5, tzinfo=UTC),
    )
    assert partition_of(url, upload) == "restoration_log_default"
    select(url, "SELECT darkroom.ensure_month('2024-05-31 23:00+00')")
    assert partition_of(url, upload) == "restoration_log_2024_05"


def test_the_same_bytes_put_again_are_another_row(audit_log: AuditLog) -> None:
    """The key of a row is the upload and its time."""
    upload = str(uuid4())
    audit_log.write(
        [
            event(upload, "success"),
            event(upload, "queued", 1, upload_time=NOW + timedelta(days=1)),
        ]
    )
    rows, _ = audit_log.task(UUID(identity.task_id("u", upload, "s")))
    assert [found.status for found in rows] == ["success", "queued"]


def test_pages_follow_each_other_without_gap(audit_log: AuditLog) -> None:
    """Newest first; uploads of the same moment are neither repeated nor skipped at a
    page's end.
    """
    user = uuid4().hex * 2
    told = [
        event(
            str(uuid4()),
            "queued",
            fields={"user_id": user},
            upload_time=NOW + timedelta(seconds=i // 4),
        )
        for i in range(23)
    ]
    audit_log.write(told)
    seen: list[Row] = []
    last: UploadRef | None = None
    while page := audit_log.page(Filter(user, after=last), 5):
        seen += page
        last = (str(page[-1].upload_id), page[-1].upload_time)
    assert len(seen) == 23
    assert {str(found.upload_id) for found in seen} == {each.upload_id for each in told}
    assert [found.upload_time for found in seen] == sorted(
        (each.upload_time for each in told), reverse=True
    )


def test_filters_are_combined(audit_log: AuditLog) -> None:
    user = uuid4().hex * 2
    kinds: list[Any] = ["queued", "failed", "failed"]
    audit_log.write(
        [event(str(uuid4()), kind, fields={"user_id": user}) for kind in kinds]
    )
    assert len(audit_log.page(Filter(user, "failed"), 10)) == 2
    assert audit_log.page(Filter(user, "success"), 10) == []


def test_the_audit_log_says_which_uploads_ended(audit_log: AuditLog) -> None:
    """Only what the audit log itself has as ended, for exactly that upload time."""
    done, open_ = str(uuid4()), str(uuid4())
    audit_log.write([*life(done), life(open_)[1]])
    asked = [
        Ending(done, NOW),
        Ending(open_, NOW),
        Ending(str(uuid4()), NOW),
        Ending(done, NOW + timedelta(days=1)),
    ]
    assert audit_log.ended(asked) == {done}
    assert audit_log.ended(asked[1:]) == set()
    assert audit_log.ended([]) == set()


def test_an_end_told_before_another_is_no_answer(audit_log: AuditLog) -> None:
    """A failure of an earlier try, a failure before a success, anything before an
    erasure.
    """
    upload = str(uuid4())
    audit_log.write([event(upload, "failed", fields={"error_code": "decode_error"})])
    failed = Ending(upload, NOW)
    restored, again = failed._replace(at_least="duplicate"), failed._replace(retries=1)
    erased = failed._replace(erased=True)
    assert [
        bool(audit_log.ended([end])) for end in (failed, restored, again, erased)
    ] == [True, False, False, False]
    audit_log.write(
        [event(upload, "failed", 5, {"error_code": "decode_error", "retries": 1})]
    )
    assert [
        bool(audit_log.ended([end])) for end in (failed, again, restored, erased)
    ] == [True, True, False, False]
    audit_log.write([event(upload, "failed", 6, {"error_code": "erased"})])
    assert all(audit_log.ended([end]) for end in (failed, again, restored, erased))


def test_counts_by_day_workflow_status_and_error(audit_log: AuditLog) -> None:
    day = datetime(2026, 2, 3, 23, 30, tzinfo=UTC)
    upload = str(uuid4())
    fields = {
        "workflow_type": "portrait",
        "model_size": 512,
        "error_code": "decode_error",
    }
    audit_log.write([event(upload, "failed", fields=fields, upload_time=day)])
    (found,) = [
        count
        for count in audit_log.counts(Filter(since=day))
        if count["workflow_type"] == "portrait"
    ]
    assert found == {
        "day": day.date(),
        "workflow_type": "portrait",
        "model_size": 512,
        "status": "failed",
        "error_code": "decode_error",
        "uploads": 1,
    }


def test_the_model_has_the_columns_of_the_table(url: str) -> None:
    """`handlers.audit_log.columns.Row` and the migration agree."""
    statement = """SELECT column_name FROM information_schema.columns
                   WHERE table_schema = 'darkroom' AND table_name = 'restoration_log'"""
    assert {name for (name,) in select(url, statement)} == set(Row.model_fields)


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        ("user_id = 'ann' AND status = 'failed'", "user_id_status"),
        ("user_id = 'ann' AND workflow_type = 'fast'", "user_id_workflow_type"),
        ("status = 'failed'", "status"),
        ("task_id = '0b0e7f1c-2f54-5b0e-8f0a-6c1d2e3f4a5b'", "task_id"),
    ],
)
def test_a_filtered_page_comes_from_an_index_in_its_order(
    url: str, wanted: str, index: str
) -> None:
    """What does not match is not read, and nothing is sorted but a task's few uploads.

    With a few rows every index costs the same, so the plan is made for many, which
    stay in a transaction that is never committed.
    """
    rows = """
        INSERT INTO darkroom.restoration_log
            (upload_id, upload_time, task_id, user_id, status, workflow_type)
        SELECT gen_random_uuid(), timestamptz '2001-01-01' + number * interval '1 s',
            gen_random_uuid(),
            CASE number % 20 WHEN 0 THEN 'ann' ELSE 'user ' || number % 20 END,
            CASE number % 7 WHEN 0 THEN 'failed' ELSE 'success' END::darkroom.status,
            CASE number % 3 WHEN 0 THEN 'fast' ELSE 'enhance' END
        FROM generate_series(1, 5000) AS number;
        ANALYZE darkroom.restoration_log;
        SET enable_seqscan = off; SET enable_bitmapscan = off;
    """
    page = f"""
        EXPLAIN SELECT * FROM darkroom.restoration_log_default WHERE {wanted}
        ORDER BY upload_time DESC, upload_id DESC LIMIT 11
    """
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(rows)
        cursor.execute(page)
        plan = cursor.fetchall()
    text = "\n".join(line for (line,) in plan)
    assert f" restoration_log_default_{index}_" in text, text
    assert "Filter" not in text
    assert "->  Sort" not in text or index == "task_id"
