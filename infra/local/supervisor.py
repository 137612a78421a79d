"""Start programs, keep them running, stop them: in one thread, with no orphan left."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from infra.local.program import Program, limit_log, tail
from infra.local.state import Pids
from shared.errors import Code, TransientError
from shared.runtime.heartbeat import read_fault
from shared.runtime.retry import RetryPolicy
from shared.runtime.telemetry import logger
from shared.s3.clock import Clock

RESTART = RetryPolicy(base_s=0.25, cap_s=10.0)
STEADY_S = 30.0
"""A process that ran for this long starts its next life without the backoff of the
last.
"""
FAILPOINT = "DARKROOM_FAILPOINT"
LOOK_S = 1.0
"""More than this between two looks means that the supervisor did not run, either."""
START_TRIES = 5
"""A program that dies this often before the stack is ready will not get better by
waiting.
"""


class Pulse:
    """How long a program has shown no sign of life.

    Only the time is counted in which the supervisor itself ran: clocks are set, and
    machines sleep.
    """

    def __init__(self, file: Path, clock: Clock) -> None:
        self._file, self._clock = file, clock
        self._seen_ns: int | None = None
        self._looked_s = clock.monotonic()
        self._silent_s = 0.0

    @property
    def begun(self) -> bool:
        """Whether there was a sign at all."""
        return self._seen_ns is not None

    def silent_s(self) -> float:
        """Seconds since the last sign, or since the start. Call it again and again."""
        now_s = self._clock.monotonic()
        passed_s = min(now_s - self._looked_s, LOOK_S)
        self._looked_s = now_s
        touched_ns = self._seen_ns
        with suppress(FileNotFoundError):
            touched_ns = self._file.stat().st_mtime_ns
        if touched_ns == self._seen_ns:
            self._silent_s += passed_s
        else:
            self._silent_s = 0.0
        self._seen_ns = touched_ns
        return self._silent_s


class Child:
    """One program over all its lives.

    A failpoint fires once: after a death by SIGKILL, which is how failpoints kill, the
    next life begins without `DARKROOM_FAILPOINT`. It would end at the same place, and
    there would be nothing to observe.
    """

    def __init__(
        self, program: Program, environment: dict[str, str], log: Path, clock: Clock
    ) -> None:
        self.program = program
        self.log = log
        self.failures = 0
        self._environment = environment
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0
        self._due_s: float | None = None
        self._pulse: Pulse | None = None

    @property
    def pid(self) -> int | None:
        """The process id while the program runs."""
        if self._process is None or self._process.poll() is not None:
            return None
        return self._process.pid

    def start(self) -> None:
        self._process = self.program.start(self._environment, self.log)
        self._started_s = self._clock.monotonic()
        self._pulse = None
        if self.program.beat:
            self._pulse = Pulse(self.program.beat, self._clock)

    def keep_running(self) -> bool:
        """Restart the program when it died and its wait is over. True when it was
        started again now.

        A program that lives without a sign of life is killed, so that it dies.
        """
        with suppress(OSError):  # no room for the copy: it grows on
            limit_log(self.log)
        if self.pid is not None:
            self._end_if_stuck()
            self._stop_at_fault()
            return False
        if self._due_s is None:
            self._due_s = self._bury()
        if self._clock.monotonic() < self._due_s:
            return False
        self._due_s = None
        if self._process and self._process.returncode == -signal.SIGKILL:
            self._environment = {
                name: value
                for name, value in self._environment.items()
                if name != FAILPOINT
            }
        self.start()
        return True

    def _end_if_stuck(self) -> None:
        program, pulse = self.program, self._pulse
        if program.beat is None or pulse is None:
            return
        silent_s = pulse.silent_s()
        limit_s = program.beat_timeout_s if pulse.begun else program.start_timeout_s
        if silent_s <= limit_s:
            return
        silence = "no sign of life"
        if not pulse.begun:
            silence += " since its start"
        detail = read_fault(program.beat) or silence
        logger().error(
            "process.stuck",
            program=program.name,
            seconds=round(silent_s, 1),
            detail=detail,
        )
        # Killed once, although the kernel may take a moment.
        self._pulse = None
        # At once: a stopped process gets no SIGTERM, and its messages are delivered
        # again.
        self._end_group()

    def _stop_at_fault(self) -> None:
        if detail := self.program.fault():
            logger().error("process.stuck", program=self.program.name, detail=detail)
            self.ask_to_stop()
            self.wait(self._clock.monotonic() + self.program.stop_s)

    def _bury(self) -> float:
        """Note its death and what it leaves; returns when it may start again."""
        assert self._process is not None
        self._end_group()
        now_s = self._clock.monotonic()
        self.failures = 1 if now_s - self._started_s > STEADY_S else self.failures + 1
        delay_s = RESTART.wait_s(self.failures)
        status = self._process.returncode
        logger().warning(
            "process.died",
            program=self.program.name,
            status=status,
            delay_s=round(delay_s, 2),
        )
        return now_s + delay_s

    def ask_to_stop(self) -> None:
        if self._process and self.pid is not None:
            self._process.send_signal(self.program.stop_signal)

    def wait(self, deadline_s: float) -> bool:
        """Wait for the end, kill at the deadline. False: it had to be killed."""
        if self._process is None:
            return True
        in_time = True
        try:
            self._process.wait(max(0.0, deadline_s - self._clock.monotonic()))
        except subprocess.TimeoutExpired:
            in_time = False
            self._process.kill()
            self._process.wait()
        self._end_group()
        return in_time

    def _end_group(self) -> None:
        """Children of the program that outlived it go, too."""
        assert self._process is not None
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


class Supervisor:
    """All children of one stack, in groups that start and stop together; the last group
    to start stops first.
    """

    def __init__(self, folder: Path, environment: dict[str, str], clock: Clock) -> None:
        self._logs = folder / "logs"
        self._environment = environment
        self._clock = clock
        self._pids = Pids(folder)
        self._groups: list[list[Child]] = []
        self._forgot = True  # a process runs that the file of pids does not name
        self._remember()

    @property
    def _children(self) -> list[Child]:
        return [child for group in self._groups for child in group]

    def start(self, programs: Iterable[Program]) -> None:
        """Start a group of programs, each as it comes; they will be stopped together."""
        group: list[Child] = []
        self._groups.append(group)
        for program in programs:
            log = self._logs / f"{program.name}.log"
            child = Child(program, self._environment, log, self._clock)
            group.append(child)
            child.start()
            self._remember()

    def wait_ready(self, timeout_s: float, stopping: Callable[[], bool]) -> None:
        """Until every program of the last group does its work. Raises `TransientError`
        naming one that does not.
        """
        deadline_s = self._clock.monotonic() + timeout_s
        waiting = list(self._groups[-1])
        while waiting and not stopping():
            waiting = [child for child in waiting if not child.program.ready()]
            self.keep_running()
            for child in waiting:
                if child.failures >= START_TRIES:
                    raise _does_not_start(child, f"died {child.failures} times")
                if self._clock.monotonic() > deadline_s:
                    raise _does_not_start(
                        child, f"was not ready within {timeout_s:.0f} s"
                    )
            self._clock.sleep(0.05)

    def keep_running(self) -> None:
        """Never raises for want of room on the disk: what could not be written or
        started is tried again.
        """
        for child in self._children:
            with suppress(OSError):
                self._forgot |= child.keep_running()
        if self._forgot:
            with suppress(OSError):
                self._remember()

    def stop(self) -> None:
        """Stop Darkroom's processes first, then the servers that they write to."""
        for group in reversed(self._groups):
            for child in group:
                child.ask_to_stop()
            started_s = self._clock.monotonic()
            for child in group:
                if (
                    not child.wait(started_s + child.program.stop_s)
                    and not child.program.may_be_killed
                ):
                    logger().warning("process.killed", program=child.program.name)
        self._groups.clear()
        self._pids.forget()

    def _remember(self) -> None:
        running = {
            child.program.name: child.pid
            for child in self._children
            if child.pid is not None
        }
        self._pids.write({"supervisor": os.getpid()} | running)
        self._forgot = False


def _does_not_start(child: Child, what: str) -> TransientError:
    return TransientError(
        Code.INTERNAL,
        f"{child.program.name} {what}; {child.log} ends with:\n{tail(child.log)}",
    )
