"""The sweep on the real store and broker: what it lists is what the handler saw, and
what it publishes arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from handlers.audit_log.database import AuditLog
from handlers.audit_log.values import Filter
from handlers.context import Context
from handlers.intake.notifications import UploadEvent
from handlers.on_sweep import Memory, on_sweep
from handlers.on_upload import on_upload
from handlers.reconcile import arrivals
from handlers.reconcile.arrivals import Arrivals
from handlers.reconcile.report import SweepReport
from shared.broker import topology
from shared.broker.depth import Backlog, backlog
from shared.errors import Code
from shared.runtime.settings import Settings
from shared.s3.store import S3Store
from shared.uploads import events, keys
from shared.uploads.documents import Reason
from tests.support.admin import as_admin
from tests.support.databases import corner, database
from tests.support.reconcile_world import photo
from tests.support.waiting import eventually

KEYS = ("a.png", "with blank/é+中#%41.png", "🖼.png")


@pytest.fixture
def ctx(servers: Any) -> Iterator[Context]:
    """Buckets and a corner of the broker of this test's own; a lease of next to
    nothing.
    """
    mark = uuid4().hex[:8]
    names = {
        f"bucket_{name}": f"{name}-{mark}"
        for name in ("uploads", "results", "quarantine", "archive")
    }
    own: dict[str, Any] = {"lease_s": 0.001, "pepper": "p", "default_workflow": "fast"}
    given = (
        as_admin(servers.settings).model_dump()
        | names
        | own
        | {"broker_url": corner(servers.settings)}
    )
    ctx = Context.of(Settings.model_validate(given))
    client = ctx.store.client if isinstance(ctx.store, S3Store) else None
    assert client
    for name in names.values():
        client.create_bucket(Bucket=name)
    yield ctx
    for name in names.values():
        listed = client.list_object_versions(Bucket=name)
        for entry in [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]:
            client.delete_object(
                Bucket=name, Key=entry["Key"], VersionId=entry["VersionId"]
            )
        client.delete_bucket(Bucket=name)


def put(ctx: Context, key: str, data: bytes) -> None:
    ctx.store.put(ctx.settings.bucket_uploads, key, data, "image/png")


def until(
    ctx: Context, found: Callable[[SweepReport], bool], **arguments: Any
) -> SweepReport:
    """Sweep until a pass has found it: the ages are the store's, so nobody here can
    hurry them.
    """
    reports: list[SweepReport] = []

    def swept() -> bool:
        reports.append(on_sweep(ctx, **arguments))
        return found(reports[-1])

    eventually(swept, "a pass that finds it", 120)
    return reports[-1]


@pytest.mark.parametrize("versions", [False, True], ids=["plain", "versioned"])
def test_lost_notifications_are_made_good_once(ctx: Context, versions: bool) -> None:
    """Whatever the key, in one piece or many, with and without versions: listing and
    handler derive the same upload.
    """
    assert isinstance(ctx.store, S3Store)
    bucket, client = ctx.settings.bucket_uploads, ctx.store.client
    if versions:
        client.put_bucket_versioning(
            Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
        )
    for number, key in enumerate(KEYS):
        put(ctx, key, photo(number))
    upload = client.create_multipart_upload(Bucket=bucket, Key="parts.png")["UploadId"]
    part: Any = {
        "Bucket": bucket,
        "Key": "parts.png",
        "UploadId": upload,
        "PartNumber": 1,
    }
    etag = client.upload_part(**part, Body=photo(9))["ETag"]
    client.complete_multipart_upload(
        Bucket=bucket,
        Key="parts.png",
        UploadId=upload,
        MultipartUpload={"Parts": [{"ETag": etag, "PartNumber": 1}]},
    )
    before = backlog(ctx.settings)[topology.BULK].ready
    found = 0
    while found < 4:
        found += until(
            ctx, lambda report: report.notifications_missed > 0
        ).notifications_missed
    memory = Memory()
    for _ in range(2):
        again = on_sweep(ctx, memory=memory)
        assert (
            again.notifications_missed,
            again.republished,
            again.waiting,
            again.uploads,
        ) == (
            0,
            0,
            4,
            4,
        )
    assert backlog(ctx.settings)[topology.BULK].ready == before + 4


@pytest.mark.parametrize("versions", [False, True], ids=["plain", "versioned"])
def test_a_look_at_new_uploads_finds_each_lost_notification(
    ctx: Context, versions: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In ranges that begin at whatever keys, in whatever order the store lists folders;
    some of them deleted since.
    """
    assert isinstance(ctx.store, S3Store)
    monkeypatch.setattr(arrivals, "RANGE", 3)
    bucket, client = ctx.settings.bucket_uploads, ctx.store.client
    if versions:
        client.put_bucket_versioning(
            Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
        )
    names = [
        *KEYS,
        *(
            f"{folder}{name}.png"
            for folder in ("", "a/", "a-b/", "a/b/")
            for name in "xz"
        ),
    ]
    looks = Arrivals(ctx)
    looks.look()
    for number, name in enumerate(names):
        put(ctx, name, photo(number))
    found: list[int] = []

    def looked() -> int:
        look = looks.look()
        assert (look.uploads >= len(names), look.failed) == (True, 0)
        found.append(look.notifications_missed)
        return sum(found)

    eventually(lambda: looked() == len(names), "a receipt of each", 120)
    for name in names[::4]:
        client.delete_object(Bucket=bucket, Key=name)
    names = [name for number, name in enumerate(names) if number % 4]
    put(ctx, "a/new.png", photo(99))
    eventually(lambda: looked() > sum(found[:-1]), "a receipt of the new one", 120)
    assert looks.look().notifications_missed == 0
    assert on_sweep(ctx).notifications_missed == 0


@pytest.mark.parametrize("name", ["user", "filename", "params"])
def test_a_value_that_is_no_text_hides_no_upload(ctx: Context, name: str) -> None:
    """An app server may pass on whatever its users call their files."""
    assert isinstance(ctx.store, S3Store)
    bucket, client = ctx.settings.bucket_uploads, ctx.store.client
    client.put_object(
        Bucket=bucket, Key="a.png", Body=photo(1), Metadata={name: "=?utf-7?q?+2AA-?="}
    )
    put(ctx, "b.png", photo(2))
    found = 0
    while found < 2:
        report = until(ctx, lambda report: report.notifications_missed > 0)
        found += report.notifications_missed
        assert report.failed == 0
    again = on_sweep(ctx)
    assert (
        again.notifications_missed,
        again.failed,
        again.uploads,
        again.receipts,
    ) == (0, 0, 2, 2)


def test_lost_messages_are_published_again(ctx: Context) -> None:
    """As many as are missing in the real queue."""
    for number in range(3):
        put(ctx, f"{number}.png", photo(number))
        on_upload(
            UploadEvent(ctx.settings.bucket_uploads, f"{number}.png", "create"), ctx
        )
    ready = backlog(ctx.settings)
    fewer = ready | {topology.BULK: Backlog(1, 0)}
    bucket = ctx.settings.bucket_results
    # A receipt of this very second may still have its message on the way, and is not
    # yet called lost.
    receipts = [info.key for info in ctx.store.list(bucket, "receipts/")]
    eventually(
        lambda: all(ctx.store.head(bucket, key).age_s > 1 for key in receipts),
        "every receipt is of a past second",
    )
    assert on_sweep(ctx, backlogs=lambda: fewer).republished == 2
    assert backlog(ctx.settings)[topology.BULK].ready == ready[topology.BULK].ready + 2


def test_an_erasure_reaches_a_log_that_knew_another_end(
    ctx: Context, servers: Any
) -> None:
    """It was told while the broker was away, and its process died half way: the sweep
    finishes it, and tells it.
    """
    put(ctx, "grandma.png", photo(1))
    event = UploadEvent(ctx.settings.bucket_uploads, "grandma.png", "create")
    upload = on_upload(event, ctx).upload_id or ""
    receipt = ctx.uploads.receipt(upload)
    failed = Reason(
        upload_id=upload,
        task_id=receipt.task_id,
        status="failed",
        error_code=Code.DECODE_ERROR,
        error_detail="d",
        source=receipt.source,
        at=receipt.decided_at,
    )
    erased = failed.model_copy(update={"error_code": Code.ERASED})
    with database(servers.settings) as url:
        audit_log, memory = AuditLog(Settings(database_url=url)), Memory()
        audit_log.write(
            [events.of_receipt(receipt, "results"), events.of_reason(failed)]
        )
        idle = dict.fromkeys(backlog(ctx.settings), Backlog(0, 0))
        for reason, told in ((failed, 0), (erased, 1)):
            written = reason.to_bytes()
            ctx.store.put(
                ctx.settings.bucket_quarantine,
                keys.reason(upload),
                written,
                "application/json",
            )
            place = ctx.settings.bucket_quarantine, keys.reason(upload)
            eventually(
                lambda place=place: ctx.store.head(*place).age_s >= 3,
                "an end of some seconds ago",
            )
            assert (
                on_sweep(
                    ctx, audit_log=audit_log, memory=memory, backlogs=lambda: idle
                ).events_resent
                == told
            )
        assert [info.key for info in ctx.store.list(ctx.settings.bucket_uploads)] == []
        receipt = ctx.uploads.receipt(upload)
        outcome = ctx.uploads.outcome(receipt)
        results = ctx.settings.bucket_results
        audit_log.write(events.of_upload(receipt, outcome, results))
        (row,) = audit_log.page(Filter(), 10)
        assert (row.error_code, row.image_filename) == (Code.ERASED, None)
        assert (
            on_sweep(
                ctx, audit_log=audit_log, memory=memory, backlogs=lambda: idle
            ).events_resent
            == 0
        )
        audit_log.close()
