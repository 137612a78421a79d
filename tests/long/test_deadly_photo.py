"""Photos that take their worker with them: one that always does is set aside, one that
met a lost device is not.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from gpu_worker.pipeline.threads import EXIT_STUCK
from handlers.context import Context
from shared.broker.dead_letters import letters
from shared.errors import Code
from shared.uploads import keys
from shared.uploads.claims import latest
from shared.uploads.documents import Reason
from tests.support.waiting import eventually
from tests.system.test_worker_pressure import Worker, ctx, record, upload  # noqa: F401

CRASHES = 2
LOST_DEVICE = """
import sys
if "gpu_worker" in sys.orig_argv:
    from gpu_worker import engines
    from gpu_worker.engines.ncnn_engine import NcnnEngine
    def load(self, model):
        raise engines.DeviceLost("CUDA error: an illegal memory access was encountered")
    NcnnEngine.load = load
"""


def test_a_photo_that_kills_its_workers_is_set_aside(ctx: Context) -> None:
    """SIGKILL with the photo in hand, which nobody can clean up after: the count of it
    was in the bucket before.
    """
    settings = {"lease_s": 4.0, "max_crashes": CRASHES}
    deadly = upload(ctx, 40, 30)
    for _ in range(CRASHES):
        assert (
            ended(Worker(ctx, failpoint="worker.after_fetch:1", **settings))
            == -signal.SIGKILL
        )
    harmless = upload(ctx, 40, 31)
    with Worker(ctx, **settings) as worker:
        assert (
            eventually(lambda: record(ctx, harmless), "the other photo", 120).attempts
            == 1
        )
        (line,) = eventually(
            lambda: worker.said("task.failed"), "the end of the photo", 120
        )
    assert (line["task_id"], line["code"], line["attempts"]) == (
        deadly,
        Code.WORKER_CRASHED,
        CRASHES,
    )
    key = keys.reason(line["upload_id"])
    reason = Reason.from_bytes(ctx.store.read(ctx.settings.bucket_quarantine, key), key)
    assert (reason.error_code, reason.attempts) == (Code.WORKER_CRASHED, CRASHES)
    assert [letter.code for letter in letters(ctx.settings)] == [Code.WORKER_CRASHED]
    assert record(ctx, deadly) is None
    assert list(ctx.store.list(ctx.settings.bucket_results, keys.claims(deadly))) == []


def test_a_lost_device_ends_the_worker_and_no_photo(
    ctx: Context,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing works on it any more: the process ends at once instead of failing photo
    after photo.

    The photo that was on it may be to blame, and has one try less; those beside it have
    not.
    """
    (tmp_path / "sitecustomize.py").write_text(LOST_DEVICE)
    tasks = [upload(ctx, 40, 32 + number) for number in range(3)]
    with monkeypatch.context() as broken:
        broken.setenv("PYTHONPATH", str(tmp_path))
        worker = Worker(ctx, lease_s=4.0)
        assert ended(worker) == EXIT_STUCK
    assert worker.said("process.stuck")
    assert not worker.said("task.retried")
    # Nobody sweeps here, and a worker that meets the claim of a photo that is in hand
    # leaves it to the sweep.
    eventually(
        lambda: all(is_due(ctx, task) for task in tasks), "the end of the claims", 60
    )
    with Worker(ctx, lease_s=4.0):
        attempts = [
            eventually(lambda task=task: record(ctx, task), "a photo", 120).attempts
            for task in tasks
        ]  # type: ignore[misc]
    assert sorted(attempts) == [1, 1, 2]
    assert letters(ctx.settings) == []


def is_due(ctx: Context, task: str) -> bool:
    """Whether the next attempt may begin."""
    claim = latest(ctx.store, ctx.settings.bucket_results, task)
    return claim is None or claim.due_s(4.0) <= 0


def ended(worker: Worker) -> int:
    """Its exit status, once it has one."""
    status = worker.process.wait(120)
    worker._reader.join()
    assert worker.process.stderr
    worker.process.stderr.close()
    return status
