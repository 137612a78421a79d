"""One upload that the store cannot give, before a real worker: it costs itself its
tries, and nobody else anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from handlers.context import Context
from handlers.intake.notifications import UploadEvent
from handlers.on_upload import on_upload
from handlers.reconcile.due_retries import DueRetries
from shared.broker.topology import restore_queue
from shared.errors import Code, NotFound
from shared.uploads import keys
from shared.uploads.documents import Reason, Receipt
from tests.support.client import photo
from tests.support.fault_proxy import Fault, FaultProxy, fault_proxy
from tests.support.waiting import eventually
from tests.system.test_worker_pressure import Worker, ctx, record, upload  # noqa: F401

QUICK: dict[str, Any] = {"retry_base_s": 0.1, "retry_cap_s": 0.2, "max_attempts": 2}
FAULTS = {
    "refused": Fault(403, "AccessDenied"),
    "archived": Fault(403, "InvalidObjectState", ("GET", "COPY")),
    "damaged": Fault(500, "InternalError"),
    "broken off": Fault(200),
}


@pytest.fixture
def proxy(ctx: Context) -> Iterator[FaultProxy]:
    with fault_proxy(int(ctx.settings.s3_endpoint_url.rpartition(":")[2])) as running:
        yield running


def queued(ctx: Context, data: bytes, user: str) -> Receipt:
    key = f"unreadable/{uuid4()}.png"
    ctx.store.put(ctx.settings.bucket_uploads, key, data, "image/png", {"user": user})
    upload_id = on_upload(
        UploadEvent(ctx.settings.bucket_uploads, key, "create"), ctx
    ).upload_id
    assert upload_id
    return Receipt.from_bytes(
        ctx.store.read(ctx.settings.bucket_results, keys.receipt(upload_id)), upload_id
    )


def reason(ctx: Context, receipt: Receipt) -> Reason | None:
    key = keys.reason(receipt.upload_id)
    try:
        return Reason.from_bytes(
            ctx.store.read(ctx.settings.bucket_quarantine, key), key
        )
    except NotFound:
        return None


def ended(ctx: Context, receipt: Receipt) -> Reason:
    """Its reason; tries that are due are called for, as the sweep does."""
    calls = DueRetries(ctx)
    return eventually(
        lambda: calls.publish_due() * 0 or reason(ctx, receipt),
        "the bad photo's end",
        240,
    )


def place(receipt: Receipt) -> str:
    return f"{receipt.source.bucket}/{receipt.source.key}"


def check_good_before_bad(
    ctx: Context, worker: Worker, bad: list[Receipt], good: str
) -> None:
    """The good photo is done while those before it have not even had their second try:
    nobody has called for it.
    """
    done = eventually(lambda: record(ctx, good), "the good photo", 240)
    assert done.attempts == 1
    assert [reason(ctx, receipt) for receipt in bad] == [None] * len(bad)
    for receipt in bad:
        end = ended(ctx, receipt)
        assert (end.status, end.error_code, end.attempts) == (
            "failed",
            Code.SOURCE_UNREADABLE,
            2,
        )
        copies = list(
            ctx.store.list(ctx.settings.bucket_quarantine, f"{receipt.upload_id}/")
        )
        assert [info.key for info in copies] == [keys.reason(receipt.upload_id)]
    assert not worker.said("service.lost")


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_nobody_waits_behind_it(ctx: Context, proxy: FaultProxy, fault: Fault) -> None:
    bad = [queued(ctx, photo(), "mallory") for _ in range(3)]
    proxy.faults.update({place(receipt): fault for receipt in bad})
    good = upload(ctx, 30, 20)
    with Worker(
        ctx, s3_endpoint_url=f"http://127.0.0.1:{proxy.port}", **QUICK
    ) as worker:
        check_good_before_bad(ctx, worker, bad, good)


def test_a_damaged_chunk_on_the_disk(ctx: Context) -> None:
    """No stand-in: 64 of its bytes are zeroed where the store keeps them."""
    data = photo(200, 150)
    bad = queued(ctx, data, "mallory")
    good = upload(ctx, 30, 20)
    assert zeroed(ctx.settings.state_dir, data) > 0
    with Worker(ctx, **QUICK) as worker:
        check_good_before_bad(ctx, worker, [bad], good)


def zeroed(folder: Path, data: bytes) -> int:
    """In how many volumes the middle of these bytes was overwritten."""
    found = 0
    for volume in folder.rglob("*.dat"):
        at = volume.read_bytes().find(data)
        if at >= 0:
            with volume.open("r+b") as file:
                file.seek(at + len(data) // 2)
                file.write(bytes(64))
            found += 1
    return found


def test_what_was_put_in_its_place_is_not_read(ctx: Context, proxy: FaultProxy) -> None:
    """However big it is: the worker's memory is for what the receipt says."""
    replaced = queued(ctx, photo(), "mallory")
    ctx.store.put(
        replaced.source.bucket, replaced.source.key, bytes(40_000_000), "image/png"
    )
    with Worker(ctx, s3_endpoint_url=f"http://127.0.0.1:{proxy.port}", **QUICK):
        assert ended(ctx, replaced).error_code == Code.SOURCE_CHANGED
    assert proxy.asked["GET", place(replaced)] == 1
    assert proxy.given[place(replaced)] < 4096  # the words of a refusal


def test_a_reason_that_the_store_refuses_ends_no_worker(
    ctx: Context, proxy: FaultProxy
) -> None:
    """It is told again and again that it is not wanted, and goes on with the others."""
    gone = queued(ctx, photo(), "mallory")
    ctx.store.delete(gone.source.bucket, gone.source.key)
    unwanted = f"{ctx.settings.bucket_quarantine}/{keys.reason(gone.upload_id)}"
    proxy.faults[unwanted] = Fault(400, "InvalidRequest", ("PUT",))
    own: dict[str, Any] = {"lease_s": 2.0, "max_crashes": 2}
    calls = DueRetries(Context.of(ctx.settings.model_copy(update=own)))
    with Worker(
        ctx, s3_endpoint_url=f"http://127.0.0.1:{proxy.port}", **QUICK, **own
    ) as worker:
        eventually(
            lambda: calls.publish_due() * 0 or len(worker.said("task.endless")) >= 3,
            "three tries to tell",
            240,
        )
        good = upload(ctx, 30, 20)
        assert (
            eventually(lambda: record(ctx, good), "the good photo", 240).attempts == 1
        )
        proxy.faults.clear()
        # Its message may be gone while its claim says that it has one: a whole pass of
        # the sweep counts, and does this.
        ctx.publisher.publish(
            restore_queue(gone.priority, gone.lane), gone.restore_task.encode()
        )
        assert eventually(
            lambda: calls.publish_due() * 0 or reason(ctx, gone), "the end", 240
        )
