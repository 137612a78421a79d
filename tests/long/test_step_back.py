"""F28: a clock that is set back by five minutes under running processes takes no photo
from anybody.

Worker and sweep have a calendar of their own (libfaketime, of a file that is rewritten
while they run).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from handlers.context import Context
from shared.broker.dead_letters import letters
from shared.broker.topology import restore_queue
from shared.runtime.settings import Settings
from shared.uploads import keys
from shared.uploads.attempts import CLOCK_STEP_S
from shared.uploads.claims import RENEWALS_PER_LEASE
from shared.uploads.documents import Record
from tests.long.test_clock_skew import LIBRARY, NEAR, SLEEP, forget_the_killed, times
from tests.support.patched import Gates, buckets, patched
from tests.support.waiting import eventually
from tests.system.test_worker_pressure import Worker, ctx, record, upload  # noqa: F401

LEASE_S = 5.0
STEP = timedelta(minutes=5)
IN_HAND = "worker.after_fetch"


class Calendar:
    """Of all processes in `environment`; true until it is set."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "calendar"
        self.set(timedelta())
        self.environment = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def set(self, ahead: timedelta) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{ahead.total_seconds():+.0f}\n")
        new.replace(self._file)


@pytest.fixture
def calendar(tmp_path: Path) -> Iterator[Calendar]:
    if LIBRARY is None:
        if os.environ.get("CI"):
            pytest.fail("libfaketime is missing, and CI must have it")
        pytest.skip("libfaketime is not installed (Debian: faketime)")
    yield Calendar(tmp_path)
    forget_the_killed()


@contextmanager
def sweeping(
    ctx: Context, folder: Path, environment: dict[str, str]
) -> Iterator[list[dict[str, Any]]]:
    """A sweep process; its log lines as they come."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SLEEP)
    chosen = {
        name: value
        for name, value in ctx.settings
        if value != Settings.model_fields[name].default
    }
    given = chosen | {"sweep_interval_s": 0.5, "log_format": "json"}
    env = (
        os.environ
        | environment
        | Settings.given(**given).variables()
        | {"PYTHONPATH": str(folder)}
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "handlers", "sweep"], env=env, stderr=subprocess.PIPE
    )
    assert process.stderr
    told: list[dict[str, Any]] = []
    lines = process.stderr

    def read() -> None:
        # each as it comes
        told.extend(json.loads(line) for line in lines if line.startswith(b"{"))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield told
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(60) == 0
        finally:
            process.kill()
            reader.join()
            lines.close()


def negative(told: Any, name: str = "") -> list[str]:
    """Every number below 0 in a document or log line, however deep."""
    if isinstance(told, dict):
        return [found for key, value in told.items() for found in negative(value, key)]
    if isinstance(told, list):
        return [found for value in told for found in negative(value, name)]
    return [f"{name}={told}"] if isinstance(told, int | float) and told < 0 else []


@pytest.fixture
def own(ctx: Context) -> Iterator[Context]:
    with buckets(ctx, "uploads", "results", lease_s=LEASE_S) as own:
        yield own


def test_a_clock_that_steps_back_takes_no_photo_from_anybody(
    own: Context, calendar: Calendar, tmp_path: Path
) -> None:
    """The holder, whose clock it is, goes on saying that it lives; a sweep beside it
    and a right worker leave it be.
    """
    gates, begun = Gates(tmp_path / "gates", IN_HAND), datetime.now(UTC)
    with sweeping(own, tmp_path / "sweep", calendar.environment) as swept:
        with patched(tmp_path / "code", SLEEP + gates.code, calendar.environment):
            holder = Worker(own)
        with holder:
            task = upload(own, 40, 30)
            eventually(lambda: gates.there(IN_HAND), "the photo in hand", 120)
            with Worker(own) as other:
                calendar.set(-STEP)
                passes = len(named(swept, "sweep.finished"))
                renewals = watch_the_claim(own, task)
                eventually(
                    lambda: len(named(swept, "sweep.finished")) > passes + 1,
                    "passes after the step",
                    120,
                )
                gates.open(IN_HAND)
                done = cast(
                    Record, eventually(lambda: record(own, task), "the record", 120)
                )
                eventually(lambda: holder.said("task.restored"), "its end", 120)
    ended = datetime.now(UTC)
    called = named(swept, "task.republished")
    print(
        f"FAULT=F28 injected={len(holder.said('clock.corrected'))} stolen={len(other.said('task.begun'))} "
        f"requeued={len(called)} renewals={renewals} queue_s={done.queue_seconds}"
    )
    assert holder.said("clock.corrected")
    assert named(swept, "clock.corrected")
    assert (
        done.attempts,
        len(holder.said("task.begun")),
        other.said("task.begun"),
        called,
    ) == (1, 1, [], [])
    assert other.said("task.postponed")
    assert letters(own.settings) == []
    assert named(swept, "sweep.failed") == []
    # What was corrected is told with its sign; everything else is a duration, a size or
    # a count.
    lines = [
        line
        for line in [*holder.events, *other.events, *swept]
        if line["event"] != "clock.corrected"
    ]
    assert negative([done.model_dump(mode="json"), lines]) == []
    assert done.started_at <= done.finished_at
    assert all(
        begun - NEAR <= at <= ended + NEAR for at in times(done.model_dump(mode="json"))
    )


def watch_the_claim(ctx: Context, task: str) -> int:
    """For longer than a lease, by the store's clock, in which others are called to the
    photo; how often it was renewed.

    Fails when the holder stops saying that it lives.
    """
    bucket, claim, seen = (
        ctx.settings.bucket_results,
        keys.claim(task, 1),
        set[datetime](),
    )
    (key,) = [info.key for info in ctx.store.list(bucket, "receipts/")]
    receipt = ctx.uploads.receipt(Path(key).stem)

    def renewed() -> bool:
        ctx.publisher.publish(
            restore_queue(receipt.priority, receipt.lane), receipt.restore_task.encode()
        )
        time.sleep(LEASE_S / RENEWALS_PER_LEASE)
        info = ctx.store.head(bucket, claim)
        assert info.age_s <= LEASE_S + CLOCK_STEP_S, (
            "the holder stopped saying that it lives"
        )
        seen.add(info.last_modified)
        return max(seen) - min(seen) > timedelta(seconds=LEASE_S + CLOCK_STEP_S)

    eventually(renewed, "a lease and more", 120)
    return len(seen)


def named(lines: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [line for line in list(lines) if line["event"] == event]
