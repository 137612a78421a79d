"""The embedded servers in a process that can be killed, and one fact in each of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import kombu
import psutil
import psycopg2

from infra.local.stack import READY
from shared.runtime.settings import Settings
from shared.s3.store import S3Store
from tests.support.waiting import eventually

DEADLINE_S = 180.0
PROGRAM = """
from infra.local.stack import Stack
from shared.runtime.settings import Settings

stack = Stack(Settings.given(), servers_only=True)
stack.heed_signals()
try:
    stack.start() and stack.watch()
finally:
    stack.stop()
"""


class Running:
    """A supervisor with the three servers, in a process of its own that can be killed."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self._environment = environment

    def start(self) -> Running:
        env = os.environ | {"DARKROOM_STATE_DIR": str(self.folder)} | self._environment
        ready = self.folder / "run" / READY
        ready.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], env=env, stderr=subprocess.PIPE, text=True
        )
        eventually(
            lambda: ready.exists() or self.process.poll() is not None,
            "a start",
            DEADLINE_S,
        )
        assert ready.exists(), self.process.communicate()[1]
        self.settings = Settings.load(state_dir=self.folder)
        return self

    def stop(self, signum: int = signal.SIGTERM) -> int:
        self.process.send_signal(signum)
        status = self.process.wait(DEADLINE_S)
        assert self.process.stderr
        self.process.stderr.close()
        return status

    def family(self) -> list[psutil.Process]:
        """Every process that runs now for these servers; some of PostgreSQL's come and
        go.
        """
        return psutil.Process(self.process.pid).children(recursive=True)

    def servers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def ports(self) -> dict[str, int]:
        """What each part listens on."""
        known: dict[str, int] = json.loads((self.folder / "state.json").read_text())[
            "ports"
        ]
        return known

    def server(self, name: str) -> psutil.Process:
        return next(process for process in self.servers() if name in process.exe())


def write(settings: Settings, text: str) -> None:
    """One fact in each server; `read` leaves it there."""
    S3Store(settings).put(
        settings.bucket_uploads, "kept.txt", text.encode(), "text/plain"
    )
    with kombu.Connection(settings.broker_url.get_secret_value()) as connection:
        queue = connection.SimpleQueue("kept")
        queue.clear()
        queue.put(text)
    execute(settings, "drop table if exists kept; create table kept (text text)")
    execute(settings, f"insert into kept values ('{text}')")


def read(settings: Settings) -> list[str]:
    stored = S3Store(settings).read(settings.bucket_uploads, "kept.txt").decode()
    with kombu.Connection(settings.broker_url.get_secret_value()) as connection:
        queued = str(connection.SimpleQueue("kept").get(timeout=30).payload)
    return [stored, queued, execute(settings, "select text from kept")]


def execute(settings: Settings, sql: str) -> Any:
    connection = psycopg2.connect(settings.database_url.get_secret_value())
    with connection, connection.cursor() as cursor:
        cursor.execute(sql)
        found = cursor.fetchone() if cursor.description else None
    connection.close()
    return found[0] if found else None


def survivors(processes: list[psutil.Process]) -> list[psutil.Process]:
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def listening(processes: list[psutil.Process]) -> set[tuple[str, int]]:
    found = set()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            for link in process.net_connections("inet"):
                if link.status == psutil.CONN_LISTEN:
                    found.add((link.laddr.ip, link.laddr.port))
    return found
