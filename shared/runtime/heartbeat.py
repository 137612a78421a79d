"""Signs of life: a process touches its ready file again and again while it works.

A thread watches every loop of the process and touches the file only while none of them
is quiet for too long. The supervisor, or a container's health check, compares the
file's age with `beat_timeout_s`, and so notices a process that was stopped, that hangs,
or in which one loop hangs. Waiting for a service that is away is not silence.
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
"""Longest silence of a loop that works: longer than every time limit of a single call
to a service.
"""

Quiet = Callable[[], float]
"""Returns the seconds since a part of the process last showed that it works."""


class Pulse:
    """Signs of life of one loop. Thread-safe."""

    def __init__(self, now_s: Callable[[], float] = monotonic) -> None:
        self._now_s = now_s
        self._at_s: float | None = None

    def beat(self) -> None:
        """Show that the loop works."""
        self._at_s = self._now_s()

    def rest(self) -> None:
        """Wait on purpose, however long, until the next `beat`."""
        self._at_s = None

    def quiet_s(self) -> float:
        """Seconds since the last `beat`; 0 at rest."""
        at_s = self._at_s
        return 0.0 if at_s is None else max(0.0, self._now_s() - at_s)

    @contextmanager
    def working(self) -> Iterator[None]:
        """In this block the loop must not be silent for long. Afterwards it rests again
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
        """In this block the loop may take any time, or has a limit of its own.
        Afterwards all is as before.
        """
        rested = self._at_s is None
        self.rest()
        try:
            yield
        finally:
            (self.rest if rested else self.beat)()


class _Thread(threading.local):
    def __init__(self) -> None:
        self.pulse = Pulse()


_thread = _Thread()


def own() -> Pulse:
    """The pulse of this thread; one that is not watched where none was given."""
    return _thread.pulse


def give(pulse: Pulse) -> None:
    """Make `pulse` that of the calling thread."""
    _thread.pulse = pulse


class Heartbeat:
    """Touches the ready file of a process made of `parts`.

    Each part may be quiet for `QUIET_S`, unless `limits_s` says otherwise.
    """

    def __init__(
        self,
        settings: ProcessSettings,
        parts: Mapping[str, Quiet],
        limits_s: Mapping[str, float] | None = None,
    ) -> None:
        self._file = settings.ready_file
        self._every_s = min(EVERY_S, settings.beat_timeout_s / 4)
        self._parts = dict(parts)
        self._limits_s = dict(limits_s or {})
        self._stop = threading.Event()

    def fault(self) -> str:
        """The parts that hang, as a sentence; empty while all is well."""
        faults = []
        for name, quiet_s in self._parts.items():
            seconds = quiet_s()
            if seconds > self._limits_s.get(name, QUIET_S):
                faults.append(f"{name}: no sign of life for {seconds:.0f} s")
        return ", ".join(faults)

    def start(self, address: str = "") -> None:
        """The process is ready: beat from now on.

        `address`, where the process serves its metrics, is written into the file; on a
        full disk as soon as there is room, as no process should end for that.
        """
        if self._file is None:
            return
        is_written = _write(self._file, address)
        arguments = (self._file, address, is_written)
        threading.Thread(
            target=self._run, args=arguments, name="heartbeat", daemon=True
        ).start()

    def stop(self) -> None:
        """End the beats."""
        self._stop.set()

    def beat(self, file: Path) -> None:
        """Touch the file, or write what is wrong beside it."""
        fault = self.fault()
        # A full or vanished disk is not a hanging process; the supervisor sees that the
        # file grows old.
        with suppress(OSError):
            if fault:
                fault_file(file).write_text(fault)
            else:
                file.touch()
                fault_file(file).unlink(missing_ok=True)

    def _run(self, file: Path, address: str, is_written: bool) -> None:
        while not self._stop.wait(self._every_s):
            is_written = is_written or _write(file, address)
            if is_written:
                self.beat(file)


def _write(file: Path, address: str) -> bool:
    try:
        file.write_text(address)
    except OSError:
        return False
    return True


def fault_file(ready_file: Path) -> Path:
    """Where a process of which a part hangs writes which."""
    return ready_file.with_name(f"{ready_file.name}.fault")


def read_fault(ready_file: Path) -> str:
    """What the process wrote about its fault; empty if it wrote nothing."""
    try:
        return fault_file(ready_file).read_text()
    except OSError:
        return ""
