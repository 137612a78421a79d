"""The Lambda functions as AWS starts them, from the environment alone, on the real
store, broker and database.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from handlers import aws_lambda
from handlers.audit_log.database import AuditLog
from handlers.audit_log.values import Filter
from shared.broker import topology
from shared.broker.dead_letters import letters
from shared.broker.depth import depth
from shared.broker.transports import connected
from shared.runtime.settings import Settings
from shared.s3.store import S3Store
from shared.uploads import keys
from shared.uploads.documents import Receipt
from tests.support.admin import as_admin
from tests.support.databases import corner
from tests.support.reconcile_world import photo
from tests.unit.handlers.http.test_app import notification
from tests.unit.handlers.test_aws_lambda import batch, failed


@pytest.fixture
def settings(servers: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """What a function finds in its environment; buckets and a corner of the broker of
    this test's own.
    """
    mark = uuid4().hex[:8]
    names = {
        f"bucket_{name}": f"{name}-{mark}"
        for name in ("uploads", "results", "quarantine", "archive")
    }
    own: dict[str, Any] = {
        "broker_url": corner(servers.settings),
        "default_workflow": "fast",
    }
    given = Settings.model_validate(
        as_admin(servers.settings).model_dump(exclude_none=True) | names | own
    )
    for name, value in given.variables(exclude={"state_dir", "ready_file"}).items():
        monkeypatch.setenv(name, value)
    for name in names.values():
        S3Store(given).client.create_bucket(Bucket=name)
    # it is this process's, for good
    monkeypatch.setattr(aws_lambda.telemetry, "configure", lambda *_: None)
    aws_lambda._context.cache_clear()
    aws_lambda._audit_log.cache_clear()
    yield given
    aws_lambda._audit_log().close()
    aws_lambda._context().publisher.close()  # type: ignore[attr-defined]
    aws_lambda._context.cache_clear()
    aws_lambda._audit_log.cache_clear()


def test_an_upload_goes_its_way_by_functions_alone(settings: Settings) -> None:
    """A batch with a good and a bad message; the log event it makes, written by the
    second function; a sweep.
    """
    key = f"{uuid4().hex}.png"
    S3Store(settings).put(settings.bucket_uploads, key, photo(7), "image/png")
    event = json.loads(notification(key))
    event["Records"][0]["s3"]["bucket"]["name"] = settings.bucket_uploads
    assert failed(aws_lambda.on_object_created(batch(json.dumps(event), "junk"))) == []
    store = S3Store(settings)
    (info,) = store.list(settings.bucket_results, "receipts/")
    receipt = Receipt.from_bytes(
        store.read(settings.bucket_results, info.key), info.key
    )
    assert info.key == keys.receipt(receipt.upload_id)
    assert depth(settings)[topology.restore_queue(receipt.priority, receipt.lane)] == 1
    (dead,) = letters(settings)
    assert (dead.queue, dead.body) == (topology.UPLOADS, b"junk")

    told: list[bytes] = []
    with connected(settings) as (transport, channel):
        transport.scan(
            channel, topology.LOG, 10, lambda body, _: bool(told.append(body))
        )
    assert failed(aws_lambda.on_record(batch(*told))) == []
    audit_log = AuditLog(settings)
    rows = [
        row
        for row in audit_log.page(Filter(), 1000)
        if str(row.upload_id) == receipt.upload_id
    ]
    audit_log.close()
    assert [row.status for row in rows] == ["queued"]

    report = aws_lambda.on_sweep({"dry_run": True})
    assert (report["uploads"], report["receipts"], report["missed"]) == (1, 1, 0)
