"""The stack under fire: started, crashed, and looked at from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from infra.local.stack import READY
from infra.local.state import Pids
from shared.errors import StorageUnavailable
from shared.runtime.settings import STACK_FILE, Settings
from shared.s3.store import S3Store
from tests.chaos.launch import ARMED
from tests.chaos.relay import Relay
from tests.chaos.runs import SCRATCH, WORKER_LOGS, Deed, Kind, now

START_S = 120.0
WORKERS = 2
SETTINGS = {
    "DARKROOM_LEASE_S": "8",
    "DARKROOM_SWEEP_INTERVAL_S": "2",
    "DARKROOM_RETRY_BASE_S": "0.5",
    "DARKROOM_RETRY_CAP_S": "5",
    "DARKROOM_DRAIN_S": "10",
    # The kills are ours, not the photos': none is set aside for having been in the
    # wrong hands.
    "DARKROOM_MAX_CRASHES": "1000",
    "DARKROOM_MAX_ATTEMPTS": "1000",
    "DARKROOM_LOG_FORMAT": "json",
    "DARKROOM_SCRATCH_THRESHOLD_BYTES": "100000",
}


DEEDS: dict[int, Kind] = {signal.SIGKILL: "kill", signal.SIGTERM: "stop"}


class NotInjectedError(Exception):
    """A fault that could not be made is no test at all: the run fails."""


def until(holds: Callable[[], Any], what: str, seconds: float) -> Any:
    deadline_s = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > deadline_s:
            raise NotInjectedError(f"{what} did not come within {seconds:.0f} s")
        time.sleep(0.05)
    return found


class World:
    """`folder` holds the state; workers log beside it. `deeds`: what was done to
    processes and the store, and when.

    `crashes`: when everything was killed at once, and when nothing of it was left.
    """

    def __init__(self, folder: Path, relay: Relay) -> None:
        self.folder = folder
        self.relay = relay
        self.settings = Settings()
        self.process: subprocess.Popen[bytes] | None = None
        self.deeds: list[Deed] = []
        self.crashes: list[tuple[datetime, datetime]] = []

    def start(self) -> None:
        ready = self.folder / "run" / READY
        ready.unlink(missing_ok=True)
        scratch = self.folder.parent / SCRATCH
        places = {
            "DARKROOM_STATE_DIR": str(self.folder),
            "DARKROOM_SCRATCH_DIR": str(scratch),
        }
        environment = os.environ | SETTINGS | places
        command = [
            sys.executable,
            "-m",
            "tests.chaos.launch",
            str(self.relay.port),
            str(WORKERS),
        ]
        for needed in (scratch, self.folder / "logs", self.folder.parent / WORKER_LOGS):
            needed.mkdir(parents=True, exist_ok=True)
        with (self.folder / "logs" / "supervisor.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log
            )
        until(
            lambda: ready.exists() or self.process.poll() is not None,
            "a stack",
            START_S,
        )  # type: ignore[union-attr]
        if not ready.exists():
            raise NotInjectedError(f"the stack did not start: see {log.name}")
        self.settings = Settings.load(state_dir=self.folder)
        self.relay.door_port = self.settings.api_port
        self.store = S3Store(self.settings)

    def stop(self) -> int:
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(90)

    def crash(self) -> None:
        """Everything at once, as when the host loses its power."""
        assert self.process
        since = now()
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=10)
        self.crashes.append((since, now()))
        self.deeds += [Deed("kill", process.pid, since, now()) for process in family]
        self.store_away(since)
        self.process.wait()
        (self.folder / STACK_FILE).unlink(missing_ok=True)

    def running(self, name: str) -> psutil.Process:
        """The process of this name, as soon as there is one."""
        found: psutil.Process = until(
            lambda: self._alive().get(name), f"process {name}", START_S
        )
        return found

    def _alive(self) -> dict[str, psutil.Process]:
        if self.process is None or self.process.poll() is not None:
            raise NotInjectedError(
                "the supervisor died of a fault that was not meant for it"
            )
        return Pids(self.folder).alive()

    def send(self, name: str, signum: signal.Signals) -> psutil.Process:
        while True:
            process, since = self.running(name), now()
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signum)
                if signum in DEEDS:
                    # Told to stop it may still be about to claim a photo; dead it is at
                    # once.
                    until = now() + timedelta(
                        seconds=self.settings.drain_s * (signum == signal.SIGTERM)
                    )
                    self.deeds.append(Deed(DEEDS[signum], process.pid, since, until))
                if name == "seaweedfs" and signum == signal.SIGKILL:
                    self.store_away(since)
                return process

    def store_away(self, since: datetime) -> None:
        """Note, beside everything else, until when the store takes no writes."""
        deed = Deed("outage", 0, since, None)
        self.deeds.append(deed)

        def watch() -> None:
            while True:
                with suppress(StorageUnavailable):
                    self.store.put(
                        self.settings.bucket_archive, "chaos", b"", "text/plain"
                    )
                    deed.until = now()
                    return
                time.sleep(0.2)

        threading.Thread(target=watch, daemon=True).start()

    def next_life(self, name: str, dead: psutil.Process) -> psutil.Process:
        """The process that took the place of `dead`."""
        return until(
            lambda: (
                (found := self._alive().get(name)) and found.pid != dead.pid and found
            ),
            f"a new {name}",
            START_S,
        )  # type: ignore[no-any-return]

    def arm(self, name: str, failpoint: str) -> psutil.Process:
        """Start `name` anew with a failpoint; its process, once it is ready."""
        # else its next life would take the failpoint, and be ended by us
        self.running(name)
        (self.folder / ARMED).write_text(json.dumps({name: failpoint}))
        process = self.next_life(name, self.send(name, signal.SIGTERM))
        ready = self.folder / "run" / f"{name}.ready"
        until(
            lambda: (
                _touched_since(ready, process.create_time()) or not process.is_running()
            ),
            name,
            START_S,
        )
        return process


def _touched_since(file: Path, moment: float) -> bool:
    try:
        return file.stat().st_mtime > moment
    except FileNotFoundError:
        return False
