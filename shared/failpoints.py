"""Named points at which a process kills itself, so that tests can put a crash exactly where it hurts.

`DARKROOM_FAILPOINT=name:n` sends SIGKILL to the process the n-th time it passes `name`; several are separated
by commas. Without the setting a point costs one dictionary look-up.
"""

from __future__ import annotations

import os
import signal
import threading

from shared.errors import SettingsError

NAMES = frozenset({
    "handler.before_receipt", "handler.before_publish", "handler.after_publish",
    "worker.before_claim", "worker.after_claim", "worker.after_fetch", "worker.after_inference",
    "worker.after_result", "worker.after_record", "worker.before_ack",
    "recorder.before_commit", "recorder.after_commit", "sweep.before_publish", "callbacks.after_call",
})  # fmt: skip

_armed: dict[str, int] = {}
_lock = threading.Lock()


def arm(spec: str) -> None:
    """Arm the points of `spec` (`name:n[,name:n…]`); an unknown name or count is a `SettingsError`."""
    armed = {}
    for part in filter(None, spec.split(",")):
        name, _, count = part.partition(":")
        if name not in NAMES or not (count or "1").isdigit() or int(count or 1) < 1:
            raise SettingsError(f"DARKROOM_FAILPOINT: {part!r} is not `name:n` with a name of {sorted(NAMES)}")
        armed[name] = int(count or 1)
    _armed.clear()
    _armed.update(armed)


def passing(name: str) -> None:
    """The process passes the point `name`; if it was armed for this passage, this call does not return."""
    if name not in _armed:
        return
    with _lock:
        _armed[name] -= 1
        if _armed[name] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
