"""`darkroom up`: servers, schema, buckets, processes, in that order; then watch until
told to stop.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Collection, Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from infra.bootstrap import bootstrap
from infra.local.identities import ADMIN, CALLBACKS, WORKER, key_of, own_keys
from infra.local.postgres import postgres
from infra.local.program import LOOPBACK, Program
from infra.local.seaweedfs import forget_sockets, seaweedfs
from infra.local.state import Pids, State, free, lock, make_folders, write_private
from infra.local.supervisor import Supervisor
from infra.local.valkey import valkey
from infra.migrate import migrate
from shared.errors import SettingsError
from shared.runtime.settings import PREFIX, STACK_FILE, EngineSettings, Settings
from shared.runtime.telemetry import logger
from shared.s3.clock import Clock, SystemClock

READY_S = 60.0
SERVER_STOP_S = 10.0
WATCH_S = 0.1
READY = "stack.ready"
SERVERS = {"s3_endpoint_url": seaweedfs, "broker_url": valkey, "database_url": postgres}
"""Setting → the embedded server that is started unless the setting names another one.
"""
OF_ONE_PROCESS = {"state_dir", "ready_file", "failpoint", "metrics_port"}


class Stack:
    """One stack in one state directory.

    `given`: what the caller said (`Settings.given`); the rest is filled in here and
    left in `stack.env`. `servers_only` leaves Darkroom's own processes out (tests).
    Raises `SettingsError` when a stack runs there already, or a port that was asked for
    is taken.
    """

    def __init__(
        self,
        given: Settings,
        workers: int = 1,
        servers_only: bool = False,
        clock: Clock | None = None,
    ) -> None:
        folder = given.state_dir.expanduser().resolve()
        make_folders(folder)
        self._lock = lock(folder)
        if left := Pids(folder).end_all():
            logger().warning("process.orphaned", programs=left)
        known = State.known(folder)
        own = _told_by_us(given, known) if known else set()
        said = given.model_fields_set - own
        if "api_port" in said and not (given.api_port and free(given.api_port)):
            self._lock.close()
            raise SettingsError(
                f"DARKROOM_API_PORT: {given.api_port} is no port, taken by another program, or not "
                "allowed to you; name another port, or none for a free one"
            )
        self.state = State.load(folder)
        self.settings = _complete(given, said, self.state)
        self._said = said
        self._workers = 0 if servers_only else workers
        self._supervisor = Supervisor(
            folder, _environment(folder, own), clock or SystemClock()
        )
        self._stop = threading.Event()
        self._ready_file = folder / "run" / READY
        self._ready_file.unlink(missing_ok=True)
        write_private(folder / STACK_FILE, _stack_file(self.settings))

    def start(self) -> bool:
        """Returns when everything is ready; False: told to stop before. Raises
        `TransientError` naming what is not.
        """
        self._supervisor.start(self._servers())
        self._supervisor.wait_ready(READY_S, self._stop.is_set)
        if not self._stop.is_set():
            self._prepare()
            self._supervisor.start(self._processes())
            self._supervisor.wait_ready(READY_S, self._stop.is_set)
        if not self._stop.is_set():
            self._ready_file.touch()
        return not self._stop.is_set()

    def heed_signals(self) -> None:
        """From now on SIGTERM and SIGINT stop the stack."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: self._stop.set())

    def watch(self) -> None:
        """Keep everything running until a signal."""
        while not self._stop.wait(WATCH_S):
            self._supervisor.keep_running()

    def stop(self) -> None:
        """Stop everything; data, ports and secrets stay, the file by which commands
        find the stack goes.
        """
        self._ready_file.unlink(missing_ok=True)
        self._supervisor.stop()
        forget_sockets(self.state)
        self.state.path(STACK_FILE).unlink(missing_ok=True)
        self._lock.close()

    def _servers(self) -> Iterator[Program]:
        for setting, make in SERVERS.items():
            if setting not in self._said:
                yield make(self.state, self.settings)

    def _prepare(self) -> None:
        with ThreadPoolExecutor(1) as pool:
            made = pool.submit(
                bootstrap, self.settings.model_copy(update=self._key_of(ADMIN))
            )
            migrate(self.settings)
            made.result()

    def _processes(self) -> Iterator[Program]:
        names = (
            [f"worker-{n}" for n in range(1, self._workers + 1)]
            if self._workers > 1
            else ["worker"]
        )
        if self._workers:
            yield self._process("handlers", "handlers", "http")
            yield self._process("recorder", "handlers", "recorder")
            yield self._process("sweep", "handlers", "sweep")
            yield self._process("callbacks", "handlers", "callbacks", role=CALLBACKS)
            yield from (
                self._process(name, "gpu_worker", role=WORKER) for name in names
            )

    def _key_of(self, role: str) -> dict[str, SecretStr]:
        """Settings of who has this role; none in a store of somebody else's, where all
        have the key that was given.
        """
        return {} if "s3_endpoint_url" in self._said else key_of(self.state, role)

    def _process(self, name: str, *module: str, role: str = "") -> Program:
        ready = ready_file(self.state.folder, name)
        command = [sys.executable, "-m", *module]
        environment = {f"{PREFIX}READY_FILE": str(ready), f"{PREFIX}METRICS_PORT": "0"}
        for setting, secret in (self._key_of(role) if role else {}).items():
            environment[f"{PREFIX}{setting.upper()}"] = secret.get_secret_value()
        return Program(
            name,
            command,
            ready.exists,
            environment,
            stop_s=self.settings.drain_s + SERVER_STOP_S,
            beat=ready,
            beat_timeout_s=self.settings.beat_timeout_s,
        )


def _own(state: State) -> dict[str, Any]:
    """The stack's own doors, and what opens them."""
    port, secret = (
        state.ports,
        {name: SecretStr(value) for name, value in state.secrets.items()},
    )
    return {
        "api_port": port["api"],
        "api_url": f"http://{LOOPBACK}:{port['api']}",
        "api_key": secret["api_key"],
        "webhook_token": secret["webhook_token"],
        "pepper": secret["pepper"],
        # hexadecimal is base64, too
        "webhook_secret": SecretStr(f"whsec_{state.secrets['webhook_secret']}"),
        "broker_url": SecretStr(
            f"redis://:{state.secrets['valkey']}@{LOOPBACK}:{port['valkey']}/0"
        ),
        "database_url": SecretStr(
            f"postgresql://darkroom:{state.secrets['postgres']}@{LOOPBACK}:{port['postgres']}"
            "/darkroom"
        ),
        "s3_endpoint_url": f"http://{LOOPBACK}:{port['s3']}",
        "s3_region": "us-east-1",
        **own_keys(state),
    }


def _told_by_us(given: Settings, known: State) -> set[str]:
    """Settings that name nothing of somebody else's: this stack told them, as by `eval
    "$(darkroom env)"`.
    """
    return {
        name for name, own in _own(known).items() if _is_own(getattr(given, name), own)
    } & given.model_fields_set


def _is_own(value: Any, own: Any) -> bool:
    """Also at a port of an earlier run: the password in the address was drawn for this
    stack alone.
    """
    if value == own or not isinstance(value, SecretStr):
        return bool(value == own)
    told, ours = (urlsplit(secret.get_secret_value()) for secret in (value, own))
    return ours.password is not None and (told.hostname, told.password) == (
        ours.hostname,
        ours.password,
    )


def _complete(given: Settings, said: Set[str], state: State) -> Settings:
    """What the caller left open is ours. A server that is somebody else's keeps its own
    keys.
    """
    ours = _own(state)
    if "api_port" in said:
        ours |= {"api_url": f"http://{LOOPBACK}:{given.api_port}"}
    # whoever said it has it: clients get no other
    if said & {"s3_access_key", "s3_secret_key"}:
        ours = {
            name: value
            for name, value in ours.items()
            if not name.startswith("s3_client_")
        }
    if "s3_endpoint_url" in said:
        ours = {
            name: value for name, value in ours.items() if not name.startswith("s3_")
        }
    if not has_gpu(given):
        ours["default_workflow"] = "fast"
    return given.model_copy(
        update={name: value for name, value in ours.items() if name not in said}
    )


def _stack_file(settings: Settings) -> str:
    """`stack.env`, by which every command finds the stack; the environment still wins
    over it.
    """
    lines = []
    for name, value in settings.variables(exclude=OF_ONE_PROCESS).items():
        quoted = value.replace("\\", "\\\\").replace("'", "\\'")
        lines.append(f"{name}='{quoted}'\n")
    return "".join(lines)


def _environment(folder: Path, own: Collection[str]) -> dict[str, str]:
    """The environment of Darkroom's processes: the caller's, and where the stack's file
    lies.

    Without what the stack told at an earlier run: what holds now is in its file.
    Modules come from where they are installed: not from the folder in which somebody
    happens to stand.
    """
    told = {f"{PREFIX}{name.upper()}" for name in own}
    kept = {
        name: value for name, value in os.environ.items() if name.upper() not in told
    }
    return kept | {f"{PREFIX}STATE_DIR": str(folder), "PYTHONSAFEPATH": "1"}


def has_gpu(settings: EngineSettings) -> bool:
    """Whether inference runs on a GPU: one is here, and so is the engine that uses it."""
    driver, torch = (
        Path("/proc/driver/nvidia/version").exists(),
        importlib.util.find_spec("torch") is not None,
    )
    return driver and torch and settings.engine != "ncnn"


def ready_file(folder: Path, name: str) -> Path:
    """Touched by a process while it works; its text is the address of its figures, if
    there is one.
    """
    return folder / "run" / f"{name}.ready"


def running(folder: Path) -> bool:
    """Whether a stack in `folder` is up and ready."""
    return (folder / "run" / READY).exists() and "supervisor" in Pids(folder).alive()
