"""`darkroom up`: starts servers, schema, buckets and processes, in that order, and
watches them until it is stopped.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Collection, Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from infra.bootstrap import bootstrap
from infra.local.identities import (
    ADMIN,
    BACKUP,
    CALLBACKS,
    WORKER,
    key_of,
    own_keys,
)
from infra.local.postgres import postgres
from infra.local.program import LOOPBACK, Program
from infra.local.seaweedfs import forget_sockets, seaweedfs
from infra.local.state import Pids, State, free, lock, make_folders, write_private
from infra.local.supervisor import Supervisor
from infra.local.valkey import valkey
from infra.migrate import migrate
from infra.sign_in import lan_address
from infra.workflow_files import add_folder
from shared.errors import SettingsError
from shared.runtime import devices
from shared.runtime.settings import (
    PREFIX,
    STACK_FILE,
    EngineSettings,
    Settings,
    variable,
)
from shared.runtime.signals import on_termination
from shared.runtime.telemetry import logger
from shared.s3.clock import Clock, SystemClock

READY_S = 60.0
SERVER_STOP_S = 10.0
WATCH_S = 0.1
READY = "stack.ready"
SERVERS = {"s3_endpoint_url": seaweedfs, "broker_url": valkey, "database_url": postgres}
"""Setting → the embedded server that is started unless the setting names another one.
"""
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - only where `--lan` asks for it
OF_ONE_PROCESS = {"state_dir", "ready_file", "failpoint", "metrics_port"}


class Stack:
    """One stack in one state directory.

    `given`: the settings of the environment (`Settings.given`); the others are filled
    in and written into `stack.env`. `servers_only`: without Darkroom's own processes
    (tests, a restore). `notifies`: the store tells of uploads. `lan`: it is reached
    from this network, too. Raises `SettingsError` when a stack runs there already, or
    the port that was given is taken.
    """

    def __init__(
        self,
        given: Settings,
        workers: int = 1,
        servers_only: bool = False,
        clock: Clock | None = None,
        notifies: bool = True,
        lan: bool = False,
    ) -> None:
        folder = given.state_dir.expanduser().resolve()
        make_folders(folder)
        self._lock = lock(folder)
        if left := Pids(folder).end_all():
            logger().warning("process.orphaned", programs=left)
        known = State.known(folder)
        own = _from_this_stack(given, known) if known else set()
        said = given.model_fields_set - own
        if "api_port" in said and not (given.api_port and free(given.api_port)):
            self._lock.close()
            raise SettingsError(
                f"DARKROOM_API_PORT: {given.api_port} is no port, taken by another program, or not "
                "allowed to you; name another port, or none for a free one"
            )
        self.state = State.load(folder)
        self.settings = _complete(given, said, self.state)
        if lan:
            self.settings = _for_lan(self.settings, said, self.state)
        self._said = said
        self._notifies = notifies
        self._workers = 0 if servers_only else workers
        environment = _environment(folder, own)
        self._supervisor = Supervisor(folder, environment, clock or SystemClock())
        self._stop = threading.Event()
        self._ready_file = folder / "run" / READY
        self._ready_file.unlink(missing_ok=True)
        write_private(folder / STACK_FILE, _stack_file(self.settings))

    def start(self) -> bool:
        """Start everything, and return when it is ready. False: it was stopped before.

        Raises `TransientError` naming what is not ready.
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
        on_termination(self._stop.set)

    def watch(self) -> None:
        """Keep everything running until a signal."""
        while not self._stop.wait(WATCH_S):
            self._supervisor.keep_running()

    def stop(self) -> None:
        """Stop everything. Data, ports and secrets stay; the file by which commands
        find the stack is deleted.
        """
        self._ready_file.unlink(missing_ok=True)
        self._supervisor.stop()
        forget_sockets(self.state)
        self.state.path(STACK_FILE).unlink(missing_ok=True)
        self._lock.close()

    @property
    def as_admin(self) -> Settings:
        """The settings with the key that may do everything at the embedded store."""
        return self.settings.model_copy(update=self._key_of(ADMIN))

    def _servers(self) -> Iterator[Program]:
        settings = self.settings
        if not self._notifies:
            settings = settings.model_copy(update={"webhook_token": SecretStr("")})
        for setting, make in SERVERS.items():
            if setting not in self._said:
                yield make(self.state, settings)

    def _prepare(self) -> None:
        """Create the buckets and apply the migrations."""
        with ThreadPoolExecutor(1) as pool:
            buckets = pool.submit(bootstrap, self.as_admin)
            migrate(self.settings)
            buckets.result()
        add_folder(self.as_admin)

    def _processes(self) -> Iterator[Program]:
        if not self._workers:
            return
        yield self._process("handlers", "handlers", "http")
        yield self._process("recorder", "handlers", "recorder")
        yield self._process("sweep", "handlers", "sweep")
        yield self._process("callbacks", "handlers", "callbacks", role=CALLBACKS)
        if self.settings.backup_interval_s:
            yield self._process("backup", "infra.backup", role=BACKUP)
        for number in range(1, self._workers + 1):
            name = f"worker-{number}" if self._workers > 1 else "worker"
            yield self._process(name, "gpu_worker", role=WORKER)

    def _key_of(self, role: str) -> dict[str, SecretStr]:
        """The settings by which a process has the key of this role. None in a store
        that is not embedded: there all have the key that was given.
        """
        if "s3_endpoint_url" in self._said:
            return {}
        return key_of(self.state, role)

    def _process(self, name: str, *module: str, role: str = "") -> Program:
        ready = ready_file(self.state.folder, name)
        command = [sys.executable, "-m", *module]
        environment = {f"{PREFIX}READY_FILE": str(ready), f"{PREFIX}METRICS_PORT": "0"}
        keys = self._key_of(role) if role else {}
        for setting, secret in keys.items():
            environment[variable(setting)] = secret.get_secret_value()
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
    """The settings of the embedded servers: their addresses and their secrets."""
    port = state.ports
    secret = {name: SecretStr(value) for name, value in state.secrets.items()}
    return {
        "api_port": port["api"],
        "api_url": f"http://{LOOPBACK}:{port['api']}",
        "api_key": secret["api_key"],
        "webhook_token": secret["webhook_token"],
        "pepper": secret["pepper"],
        # Hexadecimal digits are Base64, too.
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


def _from_this_stack(given: Settings, known: State) -> set[str]:
    """Names of the given settings that come from this stack itself, as by `eval
    "$(darkroom env)"`, and so choose no other server.
    """
    own = _own(known)
    names = given.model_fields_set & own.keys()
    return {name for name in names if _is_own(getattr(given, name), own[name])}


def _is_own(value: Any, own: Any) -> bool:
    """Whether a setting's value is of this stack, or is an address of an earlier run of
    it: the password in that was drawn for this stack alone.
    """
    if value == own or not isinstance(value, SecretStr):
        return bool(value == own)
    given = urlsplit(value.get_secret_value())
    ours = urlsplit(own.get_secret_value())
    if ours.password is None:
        return False
    is_same_host = given.hostname == ours.hostname
    return bool(is_same_host and given.password == ours.password)


def _complete(given: Settings, said: Set[str], state: State) -> Settings:
    """Fill in the settings that were not given. A server that was given keeps its own
    keys.
    """
    ours = _own(state)
    if "api_port" in said:
        ours |= {"api_url": f"http://{LOOPBACK}:{given.api_port}"}
    if said & {"s3_access_key", "s3_secret_key"}:
        # Clients have the key that was given, and get no other.
        ours = _without(ours, "s3_client_")
    if "s3_endpoint_url" in said:
        ours = _without(ours, "s3_")
    if not has_gpu(given):
        ours["default_workflow"] = "fast"
    missing = {name: value for name, value in ours.items() if name not in said}
    return given.model_copy(update=missing)


def _for_lan(settings: Settings, said: Set[str], state: State) -> Settings:
    """HTTP server and store listen to the network, and links lead to this machine's
    address in it.
    """
    ours = {"api_host": EVERY_ADDRESS}
    if "s3_endpoint_url" not in said:
        ours["s3_public_url"] = f"http://{lan_address()}:{state.ports['s3']}"
    missing = {name: value for name, value in ours.items() if name not in said}
    return settings.model_copy(update=missing)


def _without(settings: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {
        name: value for name, value in settings.items() if not name.startswith(prefix)
    }


def _stack_file(settings: Settings) -> str:
    """The text of `stack.env`, by which every command finds the stack."""
    lines = []
    for name, value in settings.variables(exclude=OF_ONE_PROCESS).items():
        quoted = value.replace("\\", "\\\\").replace("'", "\\'")
        lines.append(f"{name}='{quoted}'\n")
    return "".join(lines)


def _environment(folder: Path, own: Collection[str]) -> dict[str, str]:
    """The environment of Darkroom's processes: the caller's, and the stack's folder.

    Without what comes from an earlier run of the stack: its file has what holds now.
    Modules are imported from where they are installed, not from the working directory.
    """
    stale = {variable(name) for name in own}
    environment = {
        name: value for name, value in os.environ.items() if name.upper() not in stale
    }
    environment[variable("state_dir")] = str(folder)
    environment["PYTHONSAFEPATH"] = "1"
    return environment


def has_gpu(settings: EngineSettings) -> bool:
    """Whether inference runs on a GPU: there is one, and the engine that uses it."""
    return bool(devices.usable(settings))


def worker_count(settings: EngineSettings, asked: int | None) -> int:
    """How many workers to start; None asks for one a device, or one on the CPU.

    Raises `SettingsError` for more of them than there are devices.
    """
    found = devices.usable(settings)
    if asked is None:
        return max(1, len(found))
    if found and asked > len(found):
        raise SettingsError(
            f"--workers {asked}: a device has one worker, and DARKROOM_DEVICE={settings.device} finds {len(found)}; "
            "ask for `--workers auto`, or set DARKROOM_DEVICE=cpu for workers on the CPU"
        )
    return asked


def ready_file(folder: Path, name: str) -> Path:
    """The file that a process touches while it works; it contains the address of its
    metrics, if there is one.
    """
    return folder / "run" / f"{name}.ready"


def running(folder: Path) -> bool:
    """Whether a stack in `folder` is up and ready."""
    return (folder / "run" / READY).exists() and "supervisor" in Pids(folder).alive()
