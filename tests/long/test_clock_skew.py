"""Machines whose clocks are an hour off, on the real stack: photos end as they do where
every clock is right.

libfaketime gives each process of ours a wrong calendar; the servers and this test keep
the true one.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from infra.local.stack import READY
from shared.broker.dead_letters import letters
from shared.runtime.settings import Settings
from shared.uploads import identity
from tests.conftest import darkroom
from tests.support.client import PATIENCE_S, Client, photo
from tests.support.waiting import eventually

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
HOUR = timedelta(hours=1)
NEAR = timedelta(seconds=10)
"""Of the store's time: the clock's own tolerance, whole seconds of `Date`, and answers
that took long.
"""
PROGRAM = """
import json, sys
from dataclasses import replace
from infra.local.stack import Stack
from shared.runtime.settings import Settings

wrong = json.loads(sys.argv[1])

class Skewed(Stack):
    def _process(self, name, *module, **options):
        program = super()._process(name, *module, **options)
        return replace(program, environment=program.environment | wrong[name])

stack = Skewed(Settings.given())
stack.heed_signals()
try:
    stack.start() and stack.watch()
finally:
    stack.stop()
"""
# Only the calendar is wrong: where libfaketime 0.9.10 fakes the monotonic clock, too, a
# thread's wait with a time limit lasts for decades (it knows nothing of sem_clockwait).
# Where it does not, every clock_nanosleep, as Python's sleep is, ends with EINVAL. No
# machine's wrong clock does either: these processes sleep by select.
SLEEP = "import select, time\ntime.sleep = lambda seconds: select.select([], [], [], seconds) and None\n"


def environment(skew: timedelta, folder: Path) -> dict[str, str]:
    """Of a process whose calendar is `skew` ahead, and of its children."""
    return {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME": f"{skew.total_seconds():+.0f}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
        "PYTHONPATH": str(folder),
    }


@pytest.fixture(params=[HOUR, -HOUR], ids=["worker-ahead", "worker-behind"])
def skewed(
    request: pytest.FixtureRequest, state_dir: Callable[[str], Path], tmp_path: Path
) -> Iterator[Settings]:
    """A whole stack; the worker's clock is an hour off, and everybody else's an hour to
    the other side.

    The worker is killed once: when its third photo is computed and not yet stored.
    """
    if LIBRARY is None:
        if os.environ.get("CI"):
            pytest.fail("libfaketime is missing, and CI must have it")
        pytest.skip("libfaketime is not installed (Debian: faketime)")
    folder = state_dir("skewed")
    (tmp_path / "sitecustomize.py").write_text(SLEEP)
    names = ("handlers", "recorder", "sweep", "callbacks", "worker")
    skews = {
        name: request.param if name == "worker" else -request.param for name in names
    }
    wrong = {name: environment(skew, tmp_path) for name, skew in skews.items()}
    settings = {
        "DARKROOM_STATE_DIR": str(folder),
        "DARKROOM_SWEEP_INTERVAL_S": "2",
        "DARKROOM_LEASE_S": "10",
        "DARKROOM_LOG_FORMAT": "json",
        "DARKROOM_FAILPOINT": "worker.after_inference:3",
    }
    with (tmp_path / "stack.log").open("wb") as log:
        command = [sys.executable, "-c", PROGRAM, json.dumps(wrong)]
        process = subprocess.Popen(command, env=os.environ | settings, stderr=log)
    try:
        ready = folder / "run" / READY
        eventually(lambda: ready.exists() or process.poll() is not None, "a start", 180)
        assert ready.exists(), (tmp_path / "stack.log").read_text()
        for name, skew in skews.items():
            off = last_line(folder / "logs" / f"{name}.log") - datetime.now(UTC)
            assert abs(off - skew) < HOUR / 2, (
                f"{name} has not the clock that it should have"
            )
        yield Settings.load(state_dir=folder)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(180) == 0
        forget_the_killed()


def forget_the_killed() -> None:
    """Each process under libfaketime has a note in shared memory, which stays where it
    is killed.
    """
    for note in Path("/dev/shm").glob("*faketime_*_*"):
        if not psutil.pid_exists(int(note.name.rpartition("_")[2])):
            note.unlink(missing_ok=True)


def last_line(log: Path) -> datetime:
    """Its time, which is the process's own."""
    lines = eventually(
        lambda: [line for line in log.read_text().splitlines() if line.startswith("{")],
        f"a line in {log}",
    )
    return datetime.fromisoformat(json.loads(lines[-1])["timestamp"])


def api_of(settings: Settings) -> httpx.Client:
    headers = {"Authorization": f"Bearer {settings.api_key.get_secret_value()}"}
    return httpx.Client(base_url=settings.api_url, headers=headers, timeout=60)


def by_ticket(api: httpx.Client, data: bytes) -> str:
    """Upload by the form that the API signed; its task."""
    asked = {"filename": "form.png", "content_type": "image/png", "workflow": "fast"}
    issued = api.post("/v1/uploads", json=asked).json()
    form = issued["post"]
    sent = httpx.post(
        form["url"],
        data=form["fields"],
        files={"file": ("form.png", data, "image/png")},
        timeout=60,
    )
    assert sent.status_code == 201, sent.text
    place = f"/v1/uploads/{issued['ticket']}"
    return str(
        eventually(
            lambda: api.get(place).json().get("task_id"), "a decision", PATIENCE_S
        )
    )


def times(told: Any) -> Iterator[datetime]:
    """Every time in a document or row, however deep."""
    if isinstance(told, dict | list):
        for each in told.values() if isinstance(told, dict) else told:
            yield from times(each)
    elif isinstance(told, datetime):
        yield told
    elif isinstance(told, str) and told[:2] == "20" and told[10:11] == "T":
        yield datetime.fromisoformat(told)


def test_an_hour_between_machines_changes_no_outcome(skewed: Settings) -> None:
    """S3, a twin, a signed form, a worker that dies: one end, one result, one row each;
    every time is the store's.
    """
    printed = darkroom("env", state_dir=skewed.state_dir).stdout
    client = Client(dict(line.split("=", 1) for line in shlex.split(printed)))
    begun, data = datetime.now(UTC), photo()

    def put(key: str, data: bytes) -> str:
        return identity.upload_id(
            "uploads", key, client.put(key, data, workflow="fast")
        )

    first = put("first.png", data)
    client.record(first)
    twin = put("twin.png", data)
    with api_of(skewed) as api:
        task = by_ticket(api, photo())
        formed = eventually(
            lambda: client.json("results", f"processed/{task}.json"),
            "the form's record",
            PATIENCE_S,
        )
        link = api.get(f"/v1/tasks/{task}/result").headers["location"]
    assert formed
    assert httpx.get(link, timeout=60).content == client.read(
        "results", formed["result_key"]
    )
    killed = put("killed.png", photo())

    records = {
        upload: client.record(upload) for upload in (first, formed["upload_id"], killed)
    }
    assert {
        upload: record["attempts"] for upload, record in records.items()
    } == dict.fromkeys(records, 1) | {killed: 2}
    rows = [client.row(upload, "success") for upload in records] + [
        client.row(twin, "duplicate")
    ]
    eventually(
        lambda: not client.keys("results", "claims/") or None,
        "claims given up",
        PATIENCE_S,
    )
    ended = datetime.now(UTC)

    assert len(client.rows()) == 4
    # result and record
    for prefix, count in {"receipts/": 4, "processed/": 6, "previews/": 3}.items():
        assert len(client.keys("results", prefix)) == count
    assert not client.keys("quarantine")
    assert not letters(skewed)
    for each in [*records.values(), *rows]:
        assert (
            each["duration_seconds"] is None
            or 0 <= each["duration_seconds"] < (ended - begun).total_seconds()
        )
        assert (
            each["queue_seconds"] is None
            or 0 <= each["queue_seconds"] < (ended - begun).total_seconds()
        )
    receipts = [
        client.json("results", key) for key in client.keys("results", "receipts/")
    ]
    for at in times([*records.values(), *rows, *receipts]):
        assert begun - NEAR <= at <= ended + NEAR
