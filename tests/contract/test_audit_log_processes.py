"""Recorder and sweep as processes: killed at the worst moment, told to leave, run once
by hand.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import pytest
from pydantic import SecretStr

from handlers.audit_log.database import AuditLog
from handlers.audit_log.values import Filter
from shared.broker import topology
from shared.broker.depth import IN_HAND, depth
from shared.broker.publisher import Publisher
from shared.errors import DatabaseUnavailable
from shared.runtime.settings import PREFIX, Settings
from shared.uploads import identity
from shared.uploads.messages import LogEvent
from tests.support.databases import corner, database
from tests.support.waiting import eventually

EVENTS = 40


@pytest.fixture
def settings(servers: Any) -> Iterator[Settings]:
    """The servers, with a database and a corner of the broker of this test's own, and a
    short lease.
    """
    with database(servers.settings) as url:
        own = {
            "database_url": url,
            "broker_url": corner(servers.settings),
            "lease_s": 5.0,
            "sweep_interval_s": 0.2,
            "log_batch": EVENTS,
        }
        yield Settings.model_validate(servers.settings.model_dump() | own)


class Run(Protocol):
    def __call__(
        self, settings: Settings, *arguments: str, **environment: str
    ) -> subprocess.Popen[bytes]: ...


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Starts processes of the handlers, with `log` and `out` in the test's folder; none
    outlives the test.
    """
    started: list[subprocess.Popen[bytes]] = []

    def start(
        settings: Settings, *arguments: str, **environment: str
    ) -> subprocess.Popen[bytes]:
        values = {name: _plain(value) for name, value in settings.model_dump().items()}
        told = {
            f"{PREFIX}{name.upper()}": str(value)
            for name, value in values.items()
            if value not in (None, "")
        }
        env = (
            {
                name: value
                for name, value in os.environ.items()
                if not name.startswith(PREFIX)
            }
            | told
            | environment
        )
        with (tmp_path / "log").open("ab") as log, (tmp_path / "out").open("ab") as out:
            command = [sys.executable, "-m", "handlers", *arguments]
            started.append(subprocess.Popen(command, env=env, stdout=out, stderr=log))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def _plain(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def tell(settings: Settings) -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    ids = [str(uuid4()) for _ in range(EVENTS)]
    events = [
        LogEvent(
            event_id=identity.event_id(upload, "queued"),
            upload_id=upload,
            upload_time=moment,
            kind="queued",
            at=moment,
        )
        for upload in ids
    ]
    publisher = Publisher(settings)
    publisher.publish_many(topology.LOG, [event.encode() for event in events])
    publisher.close()


def is_drained(settings: Settings) -> bool:
    found = depth(settings)
    return found[topology.LOG] == 0 and found[IN_HAND] == 0


def rows(settings: Settings) -> int:
    book = AuditLog(settings)
    try:
        return len(book.page(Filter(), 1000))
    except DatabaseUnavailable:
        return -1
    finally:
        book.close()


@pytest.mark.parametrize(
    ("failpoint", "left"),
    [("recorder.before_commit", 0), ("recorder.after_commit", EVENTS)],
)
def test_a_recorder_killed_around_its_commit_loses_and_doubles_nothing(
    settings: Settings, run: Run, failpoint: str, left: int
) -> None:
    """Before it nothing is written, after it everything; either way the messages come
    again and change nothing.
    """
    tell(settings)
    killed = run(settings, "recorder", DARKROOM_FAILPOINT=f"{failpoint}:1")
    assert killed.wait(120) == -signal.SIGKILL
    assert 0 <= rows(settings) <= left
    assert not is_drained(settings)
    heir = run(settings, "recorder")
    eventually(lambda: is_drained(settings), "an empty queue", 120)
    assert rows(settings) == EVENTS
    heir.terminate()
    assert heir.wait(120) == 0


def test_a_recorder_without_its_database_is_ready_and_patient(
    settings: Settings, run: Run, tmp_path: Path
) -> None:
    """It keeps what it has, acknowledges nothing, and leaves when told to; the broker
    has it all.
    """
    tell(settings)
    ready = tmp_path / "ready"
    away = settings.model_copy(
        update={"database_url": SecretStr("postgresql://x@127.0.0.1:1/x")}
    )
    recorder = run(away, "recorder", DARKROOM_READY_FILE=str(ready))
    eventually(ready.exists, "the recorder")
    eventually(
        lambda: b"log.postponed" in (tmp_path / "log").read_bytes(),
        "a write that failed",
    )
    recorder.terminate()
    assert recorder.wait(120) == 0
    eventually(
        lambda: depth(settings)[topology.LOG] == EVENTS, "all messages given back"
    )
    heir = run(settings, "recorder")
    eventually(lambda: is_drained(settings), "an empty queue", 120)
    assert rows(settings) == EVENTS
    heir.terminate()
    assert heir.wait(120) == 0


def test_one_sweep_prints_its_report(
    settings: Settings, run: Run, tmp_path: Path
) -> None:
    """With `--json` nothing but one object on stdout."""
    once = run(
        settings, "sweep", "--once", "--dry-run", "--json", "--since", "2099-01-01"
    )
    assert once.wait(120) == 0
    report = json.loads((tmp_path / "out").read_bytes())
    assert (report["dry_run"], report["uploads"], report["failed"]) == (True, 0, 0)


def test_a_sweep_without_its_store_says_so(
    settings: Settings, run: Run, tmp_path: Path
) -> None:
    away = settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:1"})
    once = run(away, "sweep", "--once")
    assert once.wait(120) == 1
    said = (tmp_path / "log").read_text()
    assert said.startswith("darkroom: ")
    assert "on bucket 'results'" in said
    assert said.count("\n") == 1


def test_the_sweeper_lives_through_faults_and_leaves_when_told_to(
    settings: Settings, run: Run, tmp_path: Path
) -> None:
    away = settings.model_copy(
        update={"broker_url": SecretStr("redis://127.0.0.1:1/0")}
    )
    sweeper = run(away, "sweep")
    eventually(
        lambda: (tmp_path / "log").read_bytes().count(b"sweep.failed") >= 2,
        "two sweeps",
    )
    assert sweeper.poll() is None
    sweeper.terminate()
    assert sweeper.wait(120) == 0


def test_a_rebuild_prints_what_only_the_database_knew(
    settings: Settings, run: Run, tmp_path: Path
) -> None:
    once = run(settings, "rebuild", "--json")
    assert once.wait(120) == 0
    assert json.loads((tmp_path / "out").read_bytes())["only_the_database_knew"]
