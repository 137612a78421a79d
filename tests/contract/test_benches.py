"""The benches do what they measure: small runs on the real servers, whose figures
nobody looks at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from handlers.audit_log.database import AuditLog
from infra.bench import api, backlog, records, sweep, uploads
from shared.broker import topology
from shared.broker.depth import depth
from shared.runtime.settings import Settings
from shared.s3.store import S3Store
from shared.uploads import keys
from shared.uploads.documents import Receipt
from tests.support.admin import as_admin
from tests.support.audit_log_events import select
from tests.support.databases import corner, database


@pytest.fixture
def settings(servers: Any) -> Iterator[Settings]:
    """The servers, with buckets, a database and a corner of the broker of this test's
    own.
    """
    names = [f"bench-{uuid4()}" for _ in range(3)]
    admin = as_admin(servers.settings)
    store = S3Store(admin)
    for name in names:
        store.make_bucket(name)
    buckets = dict(
        zip(
            ("bucket_uploads", "bucket_results", "bucket_quarantine"),
            names,
            strict=True,
        )
    )
    with database(servers.settings) as url:
        own = {
            "database_url": url,
            "broker_url": corner(servers.settings),
            "log_batch": 20,
        }
        given = {name: getattr(admin, name) for name in admin.model_fields_set}
        yield Settings(**(given | own | buckets))
    for name in names:
        for info in store.list(name):
            store.delete(name, info.key)
        store.client.delete_bucket(Bucket=name)


def test_every_upload_of_the_bench_is_decided_and_published(settings: Settings) -> None:
    """Twice two, and the warm-up: a receipt, a task and a log event each; the reference
    writes beside them.
    """
    rows = uploads.measure(settings, uploads=2, rounds=2)
    decided = 4 + uploads.WARM_UP
    store = S3Store(settings)
    receipts = [info.key for info in store.list(settings.bucket_results, "receipts/")]
    assert len(receipts) == decided
    for key in receipts:
        receipt = Receipt.from_bytes(store.read(settings.bucket_results, key), key)
        assert (receipt.decision, receipt.source.bytes) == ("queued", uploads.BYTES)
        assert key == keys.receipt(receipt.upload_id)
    assert len(list(store.list(settings.bucket_results, "bench/"))) == decided
    waiting = depth(settings)
    assert (
        sum(waiting[queue] for queue in topology.RESTORE)
        == waiting[topology.LOG]
        == decided
    )
    assert set(rows) == {"on_upload", "plain boto3"}
    assert rows["on_upload"]["uploads/s/core"].low > 0


def test_both_recorders_write_every_event(settings: Settings) -> None:
    """A warm-up and two rounds of either: all events are in the table, and so are the
    rows of their uploads.
    """
    rows = records.measure(settings, events=50, rounds=2)
    url = settings.database_url.get_secret_value()
    assert select(url, "SELECT count(*) FROM darkroom.restoration_event") == [
        (2 * 3 * 50,)
    ]
    statuses = select(
        url,
        "SELECT status::text, count(*) FROM darkroom.restoration_log GROUP BY 1 ORDER BY 1",
    )
    assert statuses == [("processing", 6), ("success", 2 * 3 * 16)]
    assert depth(settings)[topology.LOG] == 0
    assert set(rows) == {"on_record", "executemany"}
    AuditLog(settings).close()


def test_a_backlog_is_worked_off(settings: Settings) -> None:
    """Publisher, consumer and the real recorder, each in a process of its own: nothing
    is left, all is in the log.
    """
    rows = backlog.measure(settings, messages=300)
    assert set(rows) == {"publisher", "consumer", "recorder", "broker"}
    assert all(row["before MB"] > 1 and row["moved MB"] >= 0 for row in rows.values())
    waiting = depth(settings)
    assert sum(waiting[queue] for queue in (*topology.RESTORE, topology.LOG)) == 0
    url = settings.database_url.get_secret_value()
    assert select(url, "SELECT count(*) FROM darkroom.restoration_event") == [
        (300 + backlog.PREFETCH,)
    ]


def test_a_sweep_asks_for_what_is_new(settings: Settings) -> None:
    """Receipts and records are read once, by looks at new uploads never; what is very
    young is read again.
    """
    rows = sweep.measure(settings, objects=40)
    assert list(rows) == [
        "first pass",
        "next pass",
        "fresh process",
        "first look",
        "next look",
    ]
    assert rows["first pass"]["reads"] >= 80, rows
    assert all(
        row["requests"] > row["reads"] + row["lists"] > row["reads"]
        for row in rows.values()
    ), rows


def test_the_door_answers_every_request_of_the_bench(settings: Settings) -> None:
    """The real door in a process of its own: tickets, pages of a filled log, and
    nothing is refused or limited.
    """
    rows = api.measure(settings, rows=2000, seconds=0.05)
    url = settings.database_url.get_secret_value()
    assert select(
        url, "SELECT count(*), count(DISTINCT user_id) FROM darkroom.restoration_log"
    ) == [(2000, 991)]
    assert select(url, "SELECT count(*) FROM darkroom.restoration_log_default") == [
        (0,)
    ]
    pages = [f"GET /v1/tasks?limit=10, {who}" for who in ("tenant", "operator")]
    assert list(rows) == ["POST /v1/uploads", "GET /healthz", *pages]
    assert all(row["p99 ms"] >= row["p50 ms"] > 0 for row in rows.values())


def test_a_refusal_ends_the_bench(settings: Settings) -> None:
    """It would be quicker than a page."""
    content = api.request("GET", "/v1/tasks", "an unknown key")
    with (
        api.opened(settings) as server,
        pytest.raises(AssertionError, match="401 Unauthorized"),
    ):
        server.run_round("stranger", api.Request(content, 200, 1), 0.05)
