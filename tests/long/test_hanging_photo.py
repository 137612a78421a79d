"""F08 as one chain: a photo on which the device hangs every time, under the real
supervisor, until it is set aside.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from handlers.context import Context
from handlers.reconcile.due_retries import DueRetries
from infra.local.program import Program
from infra.local.supervisor import Supervisor
from shared.broker.dead_letters import letters
from shared.errors import Code
from shared.runtime.settings import Settings
from shared.s3.clock import SystemClock
from shared.uploads import keys
from shared.uploads.documents import Reason, Record
from tests.support.patched import buckets, patched
from tests.support.waiting import eventually
from tests.system.test_worker_pressure import ctx, record, upload  # noqa: F401

CRASHES = 2
WIDTH = 41
# A failpoint hangs at the n-th photo of a process, whichever it is; this one hangs at
# the same photo in every life.
HANGS = f"""
import threading
from gpu_worker import restore as module
original = module.restore
def restore(photo, *rest, **named):
    if photo.width == {WIDTH}:
        threading.Event().wait()
    return original(photo, *rest, **named)
module.restore = restore
"""


@pytest.fixture
def own(ctx: Context) -> Iterator[Context]:
    with buckets(
        ctx,
        "uploads",
        "results",
        "quarantine",
        lease_s=4.0,
        stall_s=8.0,
        max_crashes=CRASHES,
    ) as own:
        yield own


@contextmanager
def supervised(ctx: Context, folder: Path) -> Iterator[Supervisor]:
    """One worker, as `darkroom up` starts it; whoever waits lets `keep_running` look
    after it.
    """
    for name in ("logs", "run"):
        (folder / name).mkdir(parents=True)
    ready = folder / "run" / "worker.ready"
    chosen = {
        name: value
        for name, value in ctx.settings
        if value != Settings.model_fields[name].default
    }
    settings = Settings.given(
        **chosen | {"ready_file": ready, "metrics_port": 0, "log_format": "json"}
    )
    supervisor = Supervisor(folder, os.environ | settings.variables(), SystemClock())
    command = [sys.executable, "-m", "gpu_worker"]
    try:
        supervisor.start(
            [Program("worker", command, ready.exists, beat=ready, stop_s=60.0)]
        )
        yield supervisor
    finally:
        supervisor.stop()


def lines(folder: Path, event: str) -> list[dict[str, Any]]:
    """What all lives of the worker said."""
    told = (folder / "logs" / "worker.log").read_text().splitlines()
    return [
        line
        for text in told
        if text.startswith("{") and (line := json.loads(text))["event"] == event
    ]


def test_a_photo_that_hangs_every_time_is_set_aside(
    own: Context, tmp_path: Path
) -> None:
    """Its worker ends each time, and starts anew; the photo behind it, prepared
    already, pays for nothing.
    """
    folder = tmp_path / "stack"
    hanging, harmless = upload(own, WIDTH, 30), upload(own, 40, 30)
    with patched(tmp_path / "code", HANGS), supervised(own, folder) as supervisor:
        calls = DueRetries(own)

        def said(event: str) -> list[dict[str, Any]]:
            """Meanwhile the supervisor has its look, and tries that are due are called,
            as by the sweep process.
            """
            supervisor.keep_running()
            calls.publish_due()
            return lines(folder, event)

        (failed,) = eventually(lambda: said("task.failed"), "the end of the photo", 180)
        eventually(lambda: said("task.restored"), "the end of the other one", 180)
        done = cast(Record, record(own, harmless))
    stuck, started = lines(folder, "process.stuck"), lines(folder, "process.started")
    print(
        f"FAULT=F08 injected={len(stuck)} lives={len(started)} dead={len(letters(own.settings))} results=1"
    )
    assert [line["thread"] for line in stuck] == ["restore"] * CRASHES
    assert len(started) == CRASHES + 1
    assert (failed["task_id"], failed["code"], failed["attempts"]) == (
        hanging,
        Code.WORKER_CRASHED,
        CRASHES,
    )
    key = keys.reason(failed["upload_id"])
    reason = Reason.from_bytes(own.store.read(own.settings.bucket_quarantine, key), key)
    assert (reason.error_code, reason.attempts) == (Code.WORKER_CRASHED, CRASHES)
    # A second message of it, published as its try was due, may have been in the hands
    # of the same dead workers.
    assert {letter.code for letter in letters(own.settings)} == {Code.WORKER_CRASHED}
    assert record(own, hanging) is None
    assert done.attempts == 1
    assert not list(own.store.list(own.settings.bucket_results, keys.claims()))
