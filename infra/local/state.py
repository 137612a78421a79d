"""What a stack remembers between two runs: its ports, its secrets, and the processes it
started.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import secrets
import socket
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from shared.errors import SettingsError

PORTS = (
    "s3",
    "s3_grpc",
    "master",
    "master_grpc",
    "volume",
    "volume_grpc",
    "filer",
    "filer_grpc",
    "valkey",
    "postgres",
    "api",
)
SECRETS = (
    "s3_access_key",
    "s3_secret_key",
    "valkey",
    "postgres",
    "api_key",
    "webhook_token",
    "webhook_secret",
    "pepper",
    "seaweedfs",
    "s3_admin",
    "s3_handlers",
    "s3_ticket",
    "s3_worker",
    "s3_callbacks",
    "s3_backup",
)
PORT_RANGE = range(20_000, 32_000)
"""Below the ports that systems give to clients: there, a client of a server that is
away may take its port, or even connect to itself.
"""
_candidates = itertools.count(os.getpid() * 7919)
"""Candidates for ports, other ones in each process, so that stacks that start together
do not choose the same free port.
"""
END_S = 3.0


@dataclass
class State:
    """`{state_dir}/state.json`, mode 0600. Ports are chosen once and kept, so that
    clients keep their addresses.
    """

    folder: Path
    ports: dict[str, int]
    secrets: dict[str, str]

    @classmethod
    def load(cls, folder: Path) -> State:
        """The state of the stack in `folder`, made where there is none; a port taken by
        another program is replaced.

        Raises `SettingsError` where there are data whose secrets are gone.
        """
        known = cls.known(folder)
        if known is None and (folder / "postgres").exists():
            raise SettingsError(
                f"{folder} has data but no readable state.json with their secrets; put it back, or start elsewhere "
                "with DARKROOM_STATE_DIR"
            )
        known = known or cls(folder, {}, {})
        state = cls(folder, _with_ports(known.ports), known.secrets)
        for name in SECRETS:
            state.secrets.setdefault(name, secrets.token_hex(20))
        state.save()
        return state

    @classmethod
    def known(cls, folder: Path) -> State | None:
        """As the last run left it."""
        found = _read(folder / "state.json")
        return cls(folder, found["ports"], found["secrets"]) if found else None

    def save(self) -> None:
        write_private(
            self.path("state.json"),
            json.dumps({"ports": self.ports, "secrets": self.secrets}, indent=2),
        )

    def another_port(self, name: str) -> None:
        """Replace the port of this name by a free one."""
        self.ports[name] = _port(self.ports.values())
        self.save()

    def path(self, *parts: str) -> Path:
        return self.folder.joinpath(*parts)

    def folder_of(self, *parts: str) -> Path:
        """A folder below, made where it is missing."""
        folder = self.path(*parts)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder


def make_folders(folder: Path) -> None:
    """Make the state directory, which only its owner may list.

    Raises `SettingsError` where that is impossible.
    """
    try:
        for path in (folder, folder / "logs", folder / "run"):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"DARKROOM_STATE_DIR: {folder} cannot be made: {error.strerror}"
        ) from error


def lock(folder: Path) -> IO[str]:
    """Hold the stack in `folder` for this process's life. Raises `SettingsError` when
    another `up` holds it.
    """
    file = (folder / "run" / "lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise SettingsError(
            f"a stack is already running in {folder}; `darkroom down` stops it"
        ) from error
    return file


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, all of it or nothing."""
    part = path.with_suffix(path.suffix + ".part")
    try:
        part.unlink(missing_ok=True)
        with os.fdopen(
            os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w"
        ) as file:
            file.write(text)
        part.replace(path)
    except OSError as error:  # a write that finds no room does not say where
        raise OSError(error.errno, error.strerror, str(path)) from error


def _with_ports(known: dict[str, int]) -> dict[str, int]:
    ports = {name: port for name, port in known.items() if free(port)}
    for name in PORTS:
        if name not in ports:
            ports[name] = _port(ports.values())
    return ports


def _port(taken: Collection[int]) -> int:
    """A free one that is none of those."""
    while (
        port := PORT_RANGE[next(_candidates) % len(PORT_RANGE)]
    ) in taken or not free(port):
        pass
    return port


def free(port: int) -> bool:
    """Whether we may listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


class Pids:
    """The processes of a stack, by name, with their start times: a pid alone may belong
    to another process by now.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "run" / "pids.json"

    def write(self, processes: dict[str, int]) -> None:
        entries = {}
        for name, pid in processes.items():
            with suppress(psutil.NoSuchProcess):
                entries[name] = {
                    "pid": pid,
                    "started": psutil.Process(pid).create_time(),
                }
        write_private(self._path, json.dumps(entries, indent=2))

    def names(self) -> list[str]:
        """All that should run; one that died is among them until it is started again."""
        return list(_read(self._path) or {})

    def alive(self) -> dict[str, psutil.Process]:
        """Those that still run."""
        found = {}
        for name, entry in (_read(self._path) or {}).items():
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(entry["pid"])
                # The start time is counted from the boot, whose own time moves a little
                # when the clock is set.
                is_same = abs(process.create_time() - entry["started"]) < 1
                if is_same and process.status() != psutil.STATUS_ZOMBIE:
                    found[name] = process
        return found

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)

    def end_all(self) -> list[str]:
        """End what an earlier supervisor left behind, with its children; returns the
        names.

        They get SIGTERM first, as the servers then close their files. The kernel has
        sent it already, where it can.
        """
        left = self.alive()
        family: list[psutil.Process] = []
        for process in left.values():
            with suppress(psutil.NoSuchProcess):
                family += [process, *process.children(recursive=True)]
        for end in (psutil.Process.terminate, psutil.Process.kill):
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    end(process)
            _, family = psutil.wait_procs(family, timeout=END_S)
        return list(left)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    return found
