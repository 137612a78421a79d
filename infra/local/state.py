"""What a stack remembers between two runs: its ports, its secrets, and the processes it started."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from shared.errors import SettingsError

PORTS = (
    "s3", "s3_grpc", "master", "master_grpc", "volume", "volume_grpc", "filer", "filer_grpc",
    "valkey", "postgres", "api",
)  # fmt: skip
SECRETS = (
    "s3_access_key", "s3_secret_key", "filer_signing", "valkey", "postgres", "api_key", "webhook_token", "pepper",
)  # fmt: skip


@dataclass
class State:
    """`{state_dir}/state.json`, mode 0600. Ports are chosen once and kept, so that clients keep their addresses."""

    folder: Path
    ports: dict[str, int]
    secrets: dict[str, str]

    @classmethod
    def load(cls, folder: Path) -> State:
        """The state of the stack in `folder`, made where there is none; a port taken by a stranger is replaced."""
        folder = folder.expanduser().resolve()
        for name in ("logs", "run", "conf"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        known = _read(folder / "state.json") or {"ports": {}, "secrets": {}}
        state = cls(folder, dict(known["ports"]), dict(known["secrets"]))
        state._choose_ports()
        for name in SECRETS:
            state.secrets.setdefault(name, secrets.token_hex(20))
        write_private(folder / "state.json", json.dumps({"ports": state.ports, "secrets": state.secrets}, indent=2))
        return state

    def _choose_ports(self) -> None:
        held = []  # all at once, so that no port is given twice
        for name in PORTS:
            probe = socket.socket()
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.ports.get(name, 0)))
            except OSError:
                probe.bind(("127.0.0.1", 0))
            self.ports[name] = probe.getsockname()[1]
            held.append(probe)
        for probe in held:
            probe.close()

    def path(self, *parts: str) -> Path:
        return self.folder.joinpath(*parts)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, all of it or nothing."""
    part = path.with_suffix(path.suffix + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(text)
    part.replace(path)


def lock(folder: Path) -> IO[str]:
    """Hold the stack in `folder` for this process's life. Raises `SettingsError` when another `up` holds it."""
    file = (folder / "run" / "lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise SettingsError(f"a stack is already running in {folder}; `darkroom down` stops it") from error
    return file


class Pids:
    """The processes of a stack, by name, with their start times: a pid alone may be somebody else's by now."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "run" / "pids.json"

    def write(self, processes: dict[str, int]) -> None:
        entries = {}
        for name, pid in processes.items():
            with suppress(psutil.NoSuchProcess):
                entries[name] = {"pid": pid, "started": psutil.Process(pid).create_time()}
        write_private(self._path, json.dumps(entries, indent=2))

    def alive(self) -> dict[str, psutil.Process]:
        """Those that still run."""
        found = {}
        for name, entry in (_read(self._path) or {}).items():
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(entry["pid"])
                if abs(process.create_time() - entry["started"]) < 0.1 and process.status() != psutil.STATUS_ZOMBIE:
                    found[name] = process
        return found

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)

    def kill_all(self) -> list[str]:
        """Kill what an earlier supervisor left behind, with its children; returns the names."""
        left = self.alive()
        family = [relative for process in left.values() for relative in (process, *process.children(recursive=True))]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=10)
        return list(left)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return found
