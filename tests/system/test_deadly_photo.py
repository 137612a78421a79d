"""A photo that takes its worker with it, every time: it is set aside after a few, and the next one is restored."""

from __future__ import annotations

import signal

from handlers.context import Context
from shared import keys
from shared.broker.dead import letters
from shared.documents import Reason
from shared.errors import Code
from tests.system.test_worker_pressure import Worker, ctx, record, upload  # noqa: F401
from tests.waiting import eventually

CRASHES = 2


def test_a_photo_that_kills_its_workers_is_set_aside(ctx: Context) -> None:  # noqa: F811
    """SIGKILL with the photo in hand, which nobody can clean up after: the count of it was in the bucket before."""
    settings = {"lease_s": 4.0, "max_crashes": CRASHES}
    deadly = upload(ctx, 40, 30)
    for _ in range(CRASHES):
        worker = Worker(ctx, failpoint="worker.after_fetch:1", **settings)
        assert worker.process.wait(120) == -signal.SIGKILL
        worker._reader.join()
        assert worker.process.stderr
        worker.process.stderr.close()
    harmless = upload(ctx, 40, 31)
    with Worker(ctx, **settings) as worker:
        assert eventually(lambda: record(ctx, harmless), "the other photo", 120).attempts == 1
        (line,) = eventually(lambda: worker.said("task.failed"), "the end of the photo", 120)
    assert (line["task_id"], line["code"], line["attempts"]) == (deadly, Code.WORKER_CRASHED, CRASHES)
    key = keys.reason(line["upload_id"])
    reason = Reason.from_bytes(ctx.store.read(ctx.settings.bucket_quarantine, key), key)
    assert (reason.error_code, reason.attempts) == (Code.WORKER_CRASHED, CRASHES)
    assert [letter.code for letter in letters(ctx.settings)] == [Code.WORKER_CRASHED]
    assert record(ctx, deadly) is None
    assert list(ctx.store.list(ctx.settings.bucket_results, keys.claims(deadly))) == []
