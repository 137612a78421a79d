"""A whole stack as `darkroom up --detach` starts it: what it says, what it serves, what
is left of it.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import psutil
import psycopg2
import pytest

from infra.local.state import Pids
from shared.runtime.settings import Settings
from tests.conftest import darkroom
from tests.support.running_servers import survivors
from tests.support.waiting import eventually

PROCESSES = {
    "supervisor",
    "seaweedfs",
    "valkey",
    "postgres",
    "handlers",
    "recorder",
    "sweep",
    "callbacks",
}


def status(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        darkroom("status", "--json", state_dir=folder).stdout
    )
    return found


def pids(folder: Path) -> dict[str, int]:
    return {process["name"]: process["pid"] for process in status(folder)["processes"]}


def family(folder: Path) -> list[psutil.Process]:
    supervisor = psutil.Process(pids(folder)["supervisor"])
    return [supervisor, *supervisor.children(recursive=True)]


@pytest.fixture
def folder(state_dir: Callable[[str], Path]) -> Iterator[Path]:
    """The state directory of a stack of this test's own; stopped at the end."""
    own = state_dir("own")
    yield own
    darkroom("down", state_dir=own)


def test_everything_runs_and_is_well(stack: Settings) -> None:
    """`status` names every process and asks every part; nothing is wrong with a fresh
    stack.
    """
    found = status(stack.state_dir)
    assert {process["name"] for process in found["processes"]} == PROCESSES | {"worker"}
    assert set(found["health"]) == {"object store", "broker", "log database", "API"}
    eventually(
        lambda: not any(status(stack.state_dir)["health"].values()),
        "a healthy stack",
        120,
    )


def test_env_is_all_that_a_client_needs(stack: Settings) -> None:
    """With the lines of `darkroom env` alone: S3 by boto3's own variables, SQL, and the
    HTTP door.
    """
    lines = darkroom("env", state_dir=stack.state_dir).stdout.splitlines()
    env = {
        name: shlex.split(value)[0]
        for name, _, value in (line.partition("=") for line in lines)
    }
    client = boto3.client(
        "s3",
        endpoint_url=env["AWS_ENDPOINT_URL"],
        region_name=env["AWS_REGION"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
    )
    assert {bucket["Name"] for bucket in client.list_buckets()["Buckets"]} >= {
        "uploads",
        "results",
        "quarantine",
    }
    with (
        psycopg2.connect(env["DARKROOM_DATABASE_URL"]) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("select count(*) from darkroom.restoration_log")
        assert cursor.fetchone() is not None
    connection.close()
    assert (
        httpx.get(env["DARKROOM_API_URL"] + "/healthz", timeout=60).status_code == 200
    )


def test_a_second_up_is_refused(stack: Settings) -> None:
    """The stack that runs is left alone; status 2 and the way out."""
    before = pids(stack.state_dir)
    for arguments in (["up", "--detach"], ["up"]):
        again = darkroom(*arguments, state_dir=stack.state_dir)
        assert again.returncode == 2
        assert "darkroom down" in again.stderr
    assert pids(stack.state_dir) == before


@pytest.mark.parametrize(
    "name", ["handlers", "recorder", "sweep", "callbacks", "worker"]
)
def test_a_process_that_dies_is_started_again(stack: Settings, name: str) -> None:
    """SIGKILL of any process of ours: another one takes its place, and the supervisor's
    log says so.
    """
    # Asked of its files: each `darkroom status` costs a second of the machine's work.
    running = Pids(stack.state_dir)
    died = running.alive()[name]
    died.kill()

    def another() -> bool:
        found = running.alive().get(name)
        return found is not None and found.pid != died.pid

    eventually(another, f"another {name}", 150)
    log = stack.state_dir / "logs" / "supervisor.log"
    assert any(
        f'"program": "{name}"' in line and "process.died" in line
        for line in log.read_text().splitlines()
    )
    eventually(
        lambda: not any(status(stack.state_dir)["health"].values()),
        "a healthy stack",
        150,
    )


def test_an_interrupted_start_leaves_nothing(folder: Path) -> None:
    """Ctrl-C during `up --detach`: what had been started stops, and the next `up` finds
    the place free.
    """
    command = [sys.executable, "-m", "infra.cli", "up", "--detach"]
    environment = dict(os.environ) | {"DARKROOM_STATE_DIR": str(folder)}
    # A shell's children in the background are born deaf to SIGINT; so may be this test.
    started = subprocess.Popen(
        command,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_interrupts,
    )
    eventually(lambda: "seaweedfs" in Pids(folder).alive(), "the first server", 60)
    seen = list(Pids(folder).alive().values())
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=120)
    assert started.returncode == 130
    assert "Traceback" not in said
    assert not survivors(seen)


def hear_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_start_that_fails_says_why_and_leaves_nothing(folder: Path) -> None:
    """A setting that a process refuses: status 1, the process's own words, every server
    stopped again.
    """
    failed = darkroom(
        "up", "--detach", state_dir=folder, DARKROOM_FAILPOINT="no.such.point:1"
    )
    assert failed.returncode == 1
    assert "DARKROOM_FAILPOINT" in failed.stderr

    def holding() -> list[psutil.Process]:
        return [
            p
            for p in psutil.process_iter(["environ"])
            if str(folder) in str(p.info["environ"])
        ]

    eventually(lambda: not survivors(holding()), "the end of every process")
