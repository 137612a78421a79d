"""A worker whose line to the store is slow, narrow or breaks: every photo still ends
once.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from handlers.context import Context
from shared.uploads import keys
from shared.uploads.claims import latest
from tests.support.proxy import Proxy
from tests.support.waiting import eventually
from tests.system.test_worker_pressure import Worker, ctx, record, upload  # noqa: F401


@pytest.mark.parametrize("fault", ["latency", "narrow", "resets"])
def test_a_bad_line_to_the_store_ends_no_photo_twice(ctx: Context, fault: str) -> None:
    """0.3 s to each side, 64 KiB/s, every tenth request reset: one record, no reason,
    one attempt.
    """
    port = urlsplit(ctx.settings.s3_endpoint_url).port
    assert port
    with (
        Proxy(port) as proxy,
        Worker(ctx, s3_endpoint_url=f"http://127.0.0.1:{proxy.port}") as worker,
    ):
        {
            "latency": lambda: proxy.delay(0.3),
            "narrow": lambda: proxy.rate(64 << 10),
            "resets": lambda: proxy.reset(0.1, seed=3),
        }[fault]()
        tasks = [upload(ctx, 40, 30 + number) for number in range(3)]
        for task in tasks:
            assert (
                eventually(
                    lambda task=task: record(ctx, task), "the record", 150
                ).attempts
                == 1
            )
        proxy.heal()
        done = [line["task_id"] for line in worker.said("task.restored")]
        assert len(done) == len(set(done))
        assert not worker.said("task.failed")
        eventually(
            lambda: (
                not list(
                    ctx.store.list(ctx.settings.bucket_results, keys.claims(tasks[0]))
                )
            ),
            "no claim",
            120,
        )


def test_a_worker_leaves_although_the_store_never_answers(ctx: Context) -> None:
    """Calls that hang hold up no deploy: the photo in hand is left to its claim, which
    runs out.
    """
    port = urlsplit(ctx.settings.s3_endpoint_url).port
    assert port
    with (
        Proxy(port) as proxy,
        Worker(
            ctx, s3_endpoint_url=f"http://127.0.0.1:{proxy.port}", drain_s=1.0
        ) as worker,
    ):
        proxy.rate(2 << 10)  # the result takes half a minute
        task = upload(ctx, 120, 90)
        eventually(lambda: progress(ctx, task) == 1, "the end of the inference", 150)
        proxy.swallow()
        worker.process.terminate()
        assert worker.process.wait(120) == 0


def progress(ctx: Context, task_id: str) -> float:
    claim = latest(ctx.store, ctx.settings.bucket_results, task_id)
    return claim.note.progress if claim else 0.0
