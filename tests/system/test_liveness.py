"""A process that lives and does nothing is noticed, restarted, and its work goes on; a
bad line ends no photo twice.
"""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.local.state import Pids
from shared.uploads import identity
from tests.conftest import darkroom
from tests.support.client import Client, photo
from tests.support.waiting import eventually

BEAT_S = "10"
OURS = ("worker", "recorder", "handlers", "sweep", "callbacks")


@pytest.fixture(scope="module")
def watched(state_dir: Callable[[str], Path]) -> Iterator[Path]:
    """A stack that notices silence soon."""
    folder = state_dir("watched")
    settings = {"BEAT_TIMEOUT_S": BEAT_S, "LEASE_S": "15", "SWEEP_INTERVAL_S": "2"}
    up = darkroom(
        "up",
        "--detach",
        state_dir=folder,
        **{f"DARKROOM_{name}": value for name, value in settings.items()},
    )
    assert up.returncode == 0, up.stderr
    yield folder
    assert darkroom("down", state_dir=folder).returncode == 0


@pytest.fixture(scope="module")
def client(watched: Path) -> Client:
    printed = darkroom("env", state_dir=watched).stdout
    return Client(dict(line.split("=", 1) for line in shlex.split(printed)))


def processes(folder: Path) -> dict[str, dict[str, Any]]:
    told = json.loads(darkroom("status", "--json", state_dir=folder).stdout)
    return {process["name"]: process for process in told["processes"]}


@pytest.mark.parametrize("name", OURS)
def test_a_stopped_process_is_noticed_and_restarted(
    watched: Path, client: Client, name: str
) -> None:
    """SIGSTOP: it lives, holds its connections and its messages, and hears no SIGTERM.
    Photos go on.
    """
    running = Pids(watched)
    before = running.alive()[name]
    before.send_signal(signal.SIGSTOP)
    key = f"{name}.png"
    upload = identity.upload_id(
        "uploads", key, client.put(key, photo(), workflow="fast")
    )
    assert client.record(upload)["attempts"] <= 2
    assert client.row(upload, "success")["status"] == "success"
    eventually(
        lambda: running.alive().get(name, before).pid != before.pid,
        f"another {name}",
        150,
    )
    log = (watched / "logs" / "supervisor.log").read_text().splitlines()
    assert [
        line
        for line in log
        if f'"program": "{name}"' in line and "process.stuck" in line
    ]


def test_every_process_tells_how_it_is(watched: Path) -> None:
    """`status` knows where: `/healthz`, `/readyz` and `/metrics` of each process of
    ours.
    """

    def addresses() -> list[str]:
        told = processes(watched)
        found = [told.get(name, {}).get("figures") for name in OURS]
        with suppress(httpx.HTTPError):
            if all(address and is_well(address) for address in found):
                return found
        return []

    for address in eventually(addresses, "healthy processes", 120):
        assert "process_cpu_seconds_total" in httpx.get(f"{address}/metrics").text


def is_well(address: str) -> bool:
    answers = [httpx.get(f"{address}/{path}") for path in ("healthz", "readyz")]
    return all(answer.status_code == 200 for answer in answers)
