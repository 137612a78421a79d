"""A program of the stack: what to run, how to see that it does its work, how to stop
it.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.runtime.heartbeat import fault_file
from shared.runtime.installation import missing_library

LOOPBACK = "127.0.0.1"
NEEDED = {"PATH", "LANG", "TZ"}
MAX_LOG_BYTES = 20 << 20
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Program:
    """One process to run and keep running. `ready` answers, soon and without raising,
    whether it does its work.
    """

    name: str
    command: list[str]
    ready: Callable[[], bool]
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_s: float = 10.0
    may_be_killed: bool = False
    """Being killed at the end of `stop_s` is its ordinary end."""
    beat: Path | None = None
    """A file that it makes when it is ready, and touches while it works."""
    beat_timeout_s: float = 60.0
    start_timeout_s: float = 180.0
    """Most time until it makes that file: a worker verifies its models first. A stack's
    first start waits less.
    """
    fault: Callable[[], str] = str
    """Called again and again. Returns, once, a fault that only a restart mends; the
    program is restarted then.
    """
    of_strangers: bool = False
    """It is not ours, as the servers: of the caller's environment it is given only what
    every program needs.
    """

    def start(self, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
        """Start it now. Only ever from the supervisor's main thread: with that thread,
        its children end.
        """
        if self.beat:
            for sign in (self.beat, fault_file(self.beat)):  # of an earlier life
                sign.unlink(missing_ok=True)
        given = needed(environment) if self.of_strangers else environment
        with log.open("ab") as sink:
            return subprocess.Popen(
                self.command,
                stdout=sink,
                stderr=sink,
                stdin=subprocess.DEVNULL,
                env=given | self.environment,
                cwd=self.folder,
                umask=0o077,
                preexec_fn=self._follow_parent,
                # A group of its own: Ctrl-C in the terminal reaches the supervisor
                # alone, which stops in order.
                start_new_session=True,
                **as_user(self.user),
            )

    def _follow_parent(self) -> None:
        """Have the kernel stop this process when a supervisor dies that cannot do it
        any more.
        """
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, int(self.stop_signal))


def needed(environment: Mapping[str, str]) -> dict[str, str]:
    """What every program needs of an environment: no settings, keys or tokens of its
    caller.
    """
    return {
        name: value
        for name, value in environment.items()
        if name in NEEDED or name.startswith("LC_")
    }


def as_user(user: str | None) -> dict[str, Any]:
    """Arguments of `subprocess.Popen` that run a program as `user`, with that user's
    group and no other.
    """
    if user is None:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def script(name: str) -> str:
    """A command that a wheel installed beside this interpreter. Raises `SettingsError`
    when it is missing.
    """
    beside = Path(sys.executable).parent / name
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(name)
    if found is None:
        raise missing_library(f"the command {name!r}", "stack", "`darkroom up`")
    return found


def limit_log(log: Path) -> None:
    """Move a log that has grown too long aside. Copied, not renamed: its writer keeps
    it open (and appends).
    """
    if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
        shutil.copyfile(log, log.with_suffix(".log.1"))
        os.truncate(log, 0)


def tail(log: Path, lines: int = 5, since: int = 0) -> str:
    """The last lines of a log, of those after its first `since` bytes: where a program
    says why it ended.
    """
    if not log.exists():
        return ""
    text = log.read_bytes()[since:].decode(errors="replace")
    last = text[-4000:].splitlines()[-lines:]
    return "\n".join(last)
