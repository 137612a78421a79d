"""A real worker in which one stage hangs ends, and its photo is another attempt; one
that waits for its store lives.
"""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from gpu_worker.pipeline.threads import EXIT_STUCK
from handlers.context import Context
from handlers.intake.publish import publish
from shared.uploads.documents import Receipt, Record
from tests.long.test_slow_store import progress
from tests.support.proxy import Proxy
from tests.support.waiting import eventually
from tests.system.test_worker_pressure import Worker, ctx, record, upload  # noqa: F401

LIMIT_S = 10.0
"""Far more than any step of a small photo takes on a busy machine."""


@pytest.mark.parametrize(
    ("stage", "point"),
    [
        ("prepare", "worker.before_claim"),
        ("prepare", "worker.after_fetch"),
        ("finish", "worker.after_result"),
    ],
)
def test_a_stage_that_hangs_ends_the_worker(
    ctx: Context, stage: str, point: str
) -> None:
    """It says which. The next worker has the photo, and the attempt counts where there
    was a claim.
    """
    with Worker(
        ctx, ends=EXIT_STUCK, stall_s=LIMIT_S, lease_s=6.0, failpoint=f"{point}:1:hang"
    ) as worker:
        task = upload(ctx, 20, 16)
        assert worker.process.wait(120) == EXIT_STUCK
    assert [line["thread"] for line in worker.said("process.stuck")] == [stage]
    with Worker(ctx, lease_s=6.0):
        done = eventually(lambda: record(ctx, task), "the photo", 300)
    assert done.attempts == (1 if point == "worker.before_claim" else 2)


def receipt_of(ctx: Context, task: str) -> Receipt:
    bucket = ctx.settings.bucket_results
    listed = ctx.store.list(bucket, "receipts/")
    read = (Receipt.from_bytes(ctx.store.read(bucket, i.key), i.key) for i in listed)
    return next(receipt for receipt in read if receipt.task_id == task)


def test_a_worker_whose_store_is_frozen_only_waits(
    ctx: Context, tmp_path: Path
) -> None:
    """One photo on its way into the store, one on its way out; `/healthz` is well
    throughout, and no attempt counts.
    """
    port = urlsplit(ctx.settings.s3_endpoint_url).port
    assert port
    ready = tmp_path / "ready"
    with (
        Proxy(port) as proxy,
        Worker(
            ctx,
            s3_endpoint_url=f"http://127.0.0.1:{proxy.port}",
            stall_s=LIMIT_S,
            ready_file=ready,
            metrics_port=0,
        ) as worker,
    ):
        address = eventually(
            lambda: ready.exists() and ready.read_text(), "the address of its figures"
        )
        proxy.rate(2 << 10)  # the result takes half a minute
        first = upload(ctx, 120, 90)
        eventually(lambda: progress(ctx, first) == 1, "the end of the inference", 150)
        proxy.swallow()
        second = upload(ctx, 20, 16)
        until_s = time.monotonic() + 3 * LIMIT_S

        def long_enough() -> bool:
            answer = httpx.get(f"{address}/healthz")
            assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
            return time.monotonic() > until_s

        eventually(long_enough, "an outage of three limits", 240)
        proxy.heal()
        found_again: list[str] = []

        def restored(task: str) -> Record | None:
            # A request that was on its way when the store came back has no answer, while
            # others have: its photo is left to the sweep, which is us here.
            if worker.said("worker.failed_to_begin") and task not in found_again:
                found_again.append(task)
                publish(receipt_of(ctx, task), ctx)
            return record(ctx, task)

        attempts = [
            eventually(lambda task=task: restored(task), "the photo", 300).attempts  # type: ignore[misc]
            for task in (first, second)
        ]
        assert attempts == [1, 1]
        assert not worker.said("process.stuck")
