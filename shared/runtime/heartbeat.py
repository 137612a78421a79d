"""Signs of life: a process touches its ready file again and again, as long as it truly
works.

A thread looks at every loop of the process and touches the file only while none of them
is quiet. The supervisor, or a container's health check, compares the file's age with
`beat_timeout_s`: so a process that is stopped, that hangs, or in which one loop hangs
is noticed alike. Waiting for a service that is away is no silence.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic

from shared.runtime.settings import ProcessSettings

EVERY_S = 2.0
QUIET_S = 60.0
"""A loop that showed nothing for longer hangs. Longer than every time limit of a single
call to a service.
"""

Quiet = Callable[[], float]
"""Seconds since a part of the process last showed that it works."""


class Pulse:
    """Signs of life of one loop. Thread-safe."""

    def __init__(self, now_s: Callable[[], float] = monotonic) -> None:
        self._now_s = now_s
        self._at_s: float | None = None

    def beat(self) -> None:
        """It moves."""
        self._at_s = self._now_s()

    def rest(self) -> None:
        """It waits on purpose, however long, until the next `beat`."""
        self._at_s = None

    def quiet_s(self) -> float:
        """Seconds since the last `beat`; 0 at rest."""
        at_s = self._at_s
        return 0.0 if at_s is None else max(0.0, self._now_s() - at_s)

    @contextmanager
    def working(self) -> Iterator[None]:
        """What happens here must not take long without a `beat`. Afterwards it rests,
        if it rested before.
        """
        rested = self._at_s is None
        self.beat()
        try:
            yield
        finally:
            (self.rest if rested else self.beat)()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """What happens here may take any time, or has a limit of its own. Afterwards
        all is as before.
        """
        rested = self._at_s is None
        self.rest()
        try:
            yield
        finally:
            (self.rest if rested else self.beat)()


class _Thread(threading.local):
    def __init__(self) -> None:
        self.pulse = Pulse()  # nobody looks at it


_thread = _Thread()


def own() -> Pulse:
    """The pulse of this thread; where it was given none, one that nobody looks at."""
    return _thread.pulse


def give(pulse: Pulse) -> None:
    """From now on this is the pulse of the calling thread."""
    _thread.pulse = pulse


class Heartbeat:
    """Beats for a process made of `parts`; each is `QUIET_S` patient, unless
    `patience_s` says otherwise.
    """

    def __init__(
        self,
        settings: ProcessSettings,
        parts: Mapping[str, Quiet],
        patience_s: Mapping[str, float] | None = None,
    ) -> None:
        self._file = settings.ready_file
        self._every_s = min(EVERY_S, settings.beat_timeout_s / 4)
        self._parts, self._patience_s = dict(parts), dict(patience_s or {})
        self._stop = threading.Event()

    def fault(self) -> str:
        """What hangs, in words; nothing while all is well."""
        quiet = {name: quiet_s() for name, quiet_s in self._parts.items()}
        return ", ".join(
            f"{name}: no sign of life for {seconds:.0f} s"
            for name, seconds in quiet.items()
            if seconds > self._patience_s.get(name, QUIET_S)
        )

    def start(self, address: str = "") -> None:
        """The process is ready: beat from now on. `address` of its figures is left in
        the file.

        On a full disk it is left there as soon as there is room: no process ends for
        want of it.
        """
        if self._file:
            told = _told(self._file, address)
            arguments = (self._file, address, told)
            threading.Thread(
                target=self._run, args=arguments, name="heartbeat", daemon=True
            ).start()

    def stop(self) -> None:
        self._stop.set()

    def beat(self, file: Path) -> None:
        """Touch the file, or leave what is wrong beside it."""
        fault = self.fault()
        # a full or vanished disk is not a process that hangs; its owner sees a file
        # grow old
        with suppress(OSError):
            if fault:
                fault_file(file).write_text(fault)
            else:
                file.touch()
                fault_file(file).unlink(missing_ok=True)

    def _run(self, file: Path, address: str, told: bool) -> None:
        while not self._stop.wait(self._every_s):
            told = told or _told(file, address)
            if told:
                self.beat(file)


def _told(file: Path, address: str) -> bool:
    try:
        file.write_text(address)
    except OSError:
        return False
    return True


def fault_file(ready_file: Path) -> Path:
    """Where a process that works in part says what hangs."""
    return ready_file.with_name(f"{ready_file.name}.fault")


def told_fault(ready_file: Path) -> str:
    """What hangs, in the process's own words, if it could still say."""
    try:
        return fault_file(ready_file).read_text()
    except OSError:
        return ""
