"""A stack of the drill's own, used from outside: by the command, as an operator would."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from infra.client import DarkroomClient
from infra.local.state import Pids
from shared.errors import Code, PermanentError
from shared.runtime.settings import PREFIX, Settings

COMMAND_S = 1800.0
FROM_THE_LIVE = (
    "API_PORT",
    "API_URL",
    "BROKER_URL",
    "DATABASE_URL",
    "DRILL_INTERVAL_S",
    "FAILPOINT",
    "METRICS_PORT",
    "READY_FILE",
)
"""Settings that would lead the drill's commands to the stack that runs."""


class OwnStack:
    """A stack in `folder`. `environment`: further variables of its commands."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        others = {
            name: value
            for name, value in os.environ.items()
            if not name.upper().startswith(f"{PREFIX}S3_")
            and name.upper().removeprefix(PREFIX) not in FROM_THE_LIVE
        }
        own = {"STATE_DIR": str(folder), "LOG_FORMAT": "json", **environment}
        self._environment = others | {f"{PREFIX}{k}": v for k, v in own.items()}

    def run(
        self, *arguments: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `darkroom` with these arguments, whatever its exit status is."""
        given = {f"{PREFIX}{name}": value for name, value in environment.items()}
        return subprocess.run(
            [sys.executable, "-P", "-m", "infra.cli", *arguments],
            capture_output=True,
            text=True,
            env=self._environment | given,
            timeout=COMMAND_S,
            check=False,
        )

    def must(self, *arguments: str) -> str:
        """What the command prints. Raises `PermanentError` with its last words where it
        fails.
        """
        done = self.run(*arguments)
        if done.returncode:
            last = done.stderr.strip()[-600:]
            detail = f"`darkroom {' '.join(arguments[:2])}` failed: {last}"
            raise PermanentError(Code.INTERNAL, detail)
        return done.stdout

    def json_of(self, *arguments: str, **environment: str) -> dict[str, Any]:
        """The last line that the command prints, whatever its exit status is."""
        done = self.run(*arguments, "--json", **environment)
        lines = done.stdout.strip().splitlines()
        try:
            found: dict[str, Any] = json.loads(lines[-1])
        except (IndexError, ValueError) as error:
            detail = f"`darkroom {arguments[0]}`: {done.stderr.strip()[-600:]}"
            raise PermanentError(Code.INTERNAL, detail) from error
        return found

    def up(self) -> None:
        self.must("up", "--detach")

    def down(self) -> None:
        """Stop it; a stack that does not run is no error."""
        with suppress(subprocess.TimeoutExpired):
            self.run("down")

    @property
    def settings(self) -> Settings:
        """Its settings while it runs."""
        return Settings.load(state_dir=self.folder)

    def client(self) -> DarkroomClient:
        """A client of its API, as its operator."""
        settings = self.settings
        return DarkroomClient(settings.api_url, settings.api_key.get_secret_value())

    def process(self, name: str) -> psutil.Process:
        """A process of it. Raises `KeyError` where it does not run."""
        return Pids(self.folder).alive()[name]

    def kill_all(self) -> int:
        """`kill -9` to every process, the supervisor first; returns how many."""
        alive = Pids(self.folder).alive()
        family: list[psutil.Process] = []
        for name in sorted(alive, key=lambda name: name != "supervisor"):
            with suppress(psutil.NoSuchProcess):
                family += [alive[name], *alive[name].children(recursive=True)]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=10)
        return len({process.pid for process in family})

    def lose(self) -> int:
        """Everything ends at once, and the state folder is gone."""
        killed = self.kill_all()
        shutil.rmtree(self.folder, ignore_errors=True)
        return killed
