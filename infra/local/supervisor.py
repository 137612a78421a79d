"""Start programs, keep them running, stop them: in the foreground, in one thread, with no orphan left."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from infra.local.servers import Program, as_user
from infra.local.state import Pids
from shared.errors import Code, TransientError
from shared.retry import RetryPolicy
from shared.telemetry import logger

RESTART = RetryPolicy(base_s=0.25, cap_s=10.0, max_attempts=1_000_000)
STEADY_S = 30.0
"""A process that ran for this long starts its next life without the backoff of the last."""
MAX_LOG_BYTES = 20 << 20


class Child:
    """One program over all its lives."""

    def __init__(self, program: Program, folder: Path, environment: dict[str, str]) -> None:
        self.program = program
        self.restarts = 0
        self._log = folder / "logs" / f"{program.name}.log"
        self._environment = environment | program.environment
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0
        self._failures = 0
        self._due_s = 0.0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        with self._open_log() as log:
            # A group of its own: Ctrl-C in the terminal reaches the supervisor alone, which stops in order.
            self._process = subprocess.Popen(
                self.program.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self._environment,
                cwd=self.program.folder, start_new_session=True, **as_user(self.program.user),
            )  # fmt: skip
        self._started_s = time.monotonic()

    def keep_running(self) -> bool:
        """Restart the program when it died and its wait is over. True when it was started again now."""
        if self.pid is not None:
            return False
        now_s = time.monotonic()
        if not self._due_s:
            self._bury(now_s)
        if now_s < self._due_s:
            return False
        self._due_s = 0.0
        self.restarts += 1
        # A failpoint fires once: the same death in every life would leave nothing to observe.
        self._environment.pop("DARKROOM_FAILPOINT", None)
        self.start()
        return True

    def _bury(self, now_s: float) -> None:
        self._failures = 1 if now_s - self._started_s > STEADY_S else self._failures + 1
        delay_s = RESTART.delay_s(self._failures) or RESTART.cap_s
        self._due_s = now_s + delay_s
        status = self._process.returncode if self._process else None
        logger().warning("process.died", program=self.program.name, status=status, delay_s=round(delay_s, 2))

    def signal(self, signum: signal.Signals) -> None:
        if self._process and self.pid is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signum)

    def wait(self, deadline_s: float) -> bool:
        """Wait for the end, kill at the deadline. False: it had to be killed."""
        if self._process is None:
            return True
        try:
            self._process.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False
        return True

    def _open_log(self) -> IO[bytes]:
        if self._log.exists() and self._log.stat().st_size > MAX_LOG_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        return self._log.open("ab")


class Supervisor:
    """All children of one stack, in the order of their start; stopped in the opposite order."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self._pids = Pids(folder)
        self._groups: list[list[Child]] = []
        self._remember()

    @property
    def _children(self) -> list[Child]:
        return [child for group in self._groups for child in group]

    def start(self, programs: list[Program]) -> None:
        """Start a group of programs, which will be stopped together."""
        self._groups.append([Child(program, self._folder, self._environment) for program in programs])
        for child in self._groups[-1]:
            child.start()
        self._remember()

    def wait_ready(self, programs: list[Program], timeout_s: float, stopping: Callable[[], bool]) -> None:
        """Until every program does its work. Raises `TransientError` naming the first that does not in time."""
        deadline_s = time.monotonic() + timeout_s
        waiting = list(programs)
        while waiting and not stopping():
            waiting = [program for program in waiting if not program.ready()]
            self.keep_running()
            if waiting and time.monotonic() > deadline_s:
                log = self._folder / "logs" / f"{waiting[0].name}.log"
                detail = f"{waiting[0].name} was not ready within {timeout_s:.0f} s; its log is {log}"
                raise TransientError(Code.INTERNAL, detail)
            time.sleep(0.05)

    def keep_running(self) -> None:
        restarted = [child for child in self._children if child.keep_running()]
        if restarted:
            self._remember()

    def stop(self) -> None:
        """Darkroom's processes first, then the servers: nobody loses what it still writes to."""
        for group in reversed(self._groups):
            for child in group:
                child.signal(child.program.stop_signal)
            started_s = time.monotonic()
            for child in group:
                if not child.wait(started_s + child.program.stop_s) and not child.program.may_be_killed:
                    logger().warning("process.killed", program=child.program.name)
        self._groups.clear()
        self._pids.forget()

    def _remember(self) -> None:
        running = {child.program.name: child.pid for child in self._children if child.pid is not None}
        self._pids.write({"supervisor": os.getpid()} | running)
