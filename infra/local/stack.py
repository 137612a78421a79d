"""`darkroom up`: servers, schema, buckets, processes, in that order; then watch until told to stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from infra.bootstrap import bootstrap
from infra.local.servers import Program, postgres, seaweedfs, valkey
from infra.local.state import Pids, State, lock, write_private
from infra.local.supervisor import Supervisor
from infra.migrate import migrate
from shared.settings import PREFIX, STACK_FILE, Settings
from shared.telemetry import logger

SERVERS_READY_S = 60.0
PROCESSES_READY_S = 60.0
SERVER_STOP_S = 10.0
READY = "stack.ready"


class Stack:
    """One stack in one state directory. `servers_only` leaves Darkroom's own processes out (tests)."""

    def __init__(self, settings: Settings, workers: int = 1, servers_only: bool = False) -> None:
        folder = settings.state_dir.expanduser().resolve()
        (folder / "run").mkdir(parents=True, exist_ok=True)
        self._lock = lock(folder)
        left = Pids(folder).kill_all()
        if left:
            logger().warning("process.orphaned", programs=left)
        self.state = State.load(folder)
        self.settings = _write_stack_file(self.state, settings)
        self._programs = [] if servers_only else _own_programs(self.state, self.settings, workers)
        self._supervisor = Supervisor(folder, _environment(folder))
        self._stop = threading.Event()
        self._ready_file = folder / "run" / READY
        self._ready_file.unlink(missing_ok=True)

    def start(self) -> None:
        """Returns when everything is ready. Raises `TransientError` naming what is not."""
        servers = _servers(self.state, self.settings)
        self._supervisor.start(servers)
        self._supervisor.wait_ready(servers, SERVERS_READY_S, self._stop.is_set)
        migrate(self.settings)
        for program in self._programs:
            self.state.path("run", f"{program.name}.ready").unlink(missing_ok=True)
        self._supervisor.start(self._programs)
        with ThreadPoolExecutor(1) as pool:  # the first objects of fresh buckets are slow: meanwhile, the rest starts
            made = pool.submit(bootstrap, self.settings)
            self._supervisor.wait_ready(self._programs, PROCESSES_READY_S, self._stop.is_set)
            made.result()
        self._ready_file.touch()

    def watch(self) -> None:
        """Keep everything running until `stop`, SIGTERM or SIGINT."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: self._stop.set())
        while not self._stop.wait(0.1):
            self._supervisor.keep_running()

    def stop(self) -> None:
        self._ready_file.unlink(missing_ok=True)
        self._supervisor.stop()
        self._lock.close()


def _servers(state: State, settings: Settings) -> list[Program]:
    """The embedded servers, but for those whose address the environment names already."""
    given = {name for name in ("S3_ENDPOINT_URL", "BROKER_URL", "DATABASE_URL") if PREFIX + name in os.environ}
    makers = {"S3_ENDPOINT_URL": seaweedfs, "BROKER_URL": valkey, "DATABASE_URL": postgres}
    return [make(state, settings) for name, make in makers.items() if name not in given]


def _own_programs(state: State, settings: Settings, workers: int) -> list[Program]:
    commands = {
        "handlers": ["handlers", "http"], "recorder": ["handlers", "recorder"], "sweep": ["handlers", "sweep"],
        **{f"worker-{n}" if workers > 1 else "worker": ["gpu_worker"] for n in range(1, workers + 1)},
    }  # fmt: skip
    return [_own(state, settings, name, module) for name, module in commands.items()]


def _own(state: State, settings: Settings, name: str, arguments: list[str]) -> Program:
    ready = state.path("run", f"{name}.ready")
    environment = {f"{PREFIX}READY_FILE": str(ready)}
    command = [sys.executable, "-m", *arguments]
    return Program(name, command, ready.exists, environment, stop_s=settings.drain_s + SERVER_STOP_S)


def _write_stack_file(state: State, settings: Settings) -> Settings:
    """`stack.env`, by which every command finds the stack; the environment still wins over it."""
    port, secret = state.ports, state.secrets
    values = {
        "S3_ENDPOINT_URL": f"http://127.0.0.1:{port['s3']}",
        "S3_ACCESS_KEY": secret["s3_access_key"],
        "S3_SECRET_KEY": secret["s3_secret_key"],
        "BROKER_URL": f"redis://:{secret['valkey']}@127.0.0.1:{port['valkey']}/0",
        "DATABASE_URL": f"postgresql://darkroom:{secret['postgres']}@127.0.0.1:{port['postgres']}/darkroom",
        "API_PORT": str(port["api"]),
        "API_URL": f"http://127.0.0.1:{port['api']}",
        "API_KEY": secret["api_key"],
        "WEBHOOK_TOKEN": secret["webhook_token"],
        "PEPPER": secret["pepper"],
    }
    if not has_gpu():
        values["DEFAULT_WORKFLOW"] = "fast"
    lines = [f"{PREFIX}{name}={value}\n" for name, value in values.items()]
    write_private(state.path(STACK_FILE), "".join(lines))
    return Settings.load(state_dir=settings.state_dir)


def _environment(folder: Path) -> dict[str, str]:
    """The environment of every process: the caller's, and where the stack's file lies."""
    return os.environ | {f"{PREFIX}STATE_DIR": str(folder)}


def has_gpu() -> bool:
    return Path("/proc/driver/nvidia/version").exists()


def running(folder: Path) -> bool:
    """Whether a stack in `folder` is up and ready."""
    return (folder / "run" / READY).exists() and "supervisor" in Pids(folder).alive()
