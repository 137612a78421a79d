"""Named points at which a process kills itself or hangs, so that tests can place a
fault exactly.

`DARKROOM_FAILPOINT=name:n` sends SIGKILL to the process the n-th time it passes `name`;
with `name:n:hang` this passage never ends instead. Several are separated by commas.
Without the setting a point costs one dictionary look-up.
"""

from __future__ import annotations

import os
import re
import signal
import threading

from shared.errors import SettingsError

NAMES = frozenset(
    {
        "handler.before_receipt",
        "handler.before_publish",
        "handler.after_publish",
        "worker.before_claim",
        "worker.after_claim",
        "worker.after_fetch",
        "worker.after_inference",
        "worker.after_result",
        "worker.after_record",
        "worker.before_ack",
        "recorder.before_commit",
        "recorder.after_commit",
        "sweep.before_publish",
        "callbacks.after_call",
        "backup.after_object",
        "backup.after_runs",
        "backup.before_manifest",
        "retention.before_delete",
        "retention.after_receipt",
        "retention.before_result",
        "retention.before_record",
        "archive.after_files",
        "archive.after_manifest",
        "archive.after_detach",
        "archive.between_deletes",
    }
)

SPEC = re.compile(r"(?P<name>[a-z_.]+)(:(?P<count>[1-9][0-9]*))?(?P<hang>:hang)?")

_armed: dict[str, int] = {}
_hanging: set[str] = set()
_lock = threading.Lock()


def arm(spec: str) -> None:
    """Arm the points of `spec` (`name:n[:hang][,…]`).

    Raises `SettingsError` for an unknown name or a bad count.
    """
    armed = {}
    hanging = set()
    for part in filter(None, spec.split(",")):
        match = SPEC.fullmatch(part)
        if not match or match["name"] not in NAMES:
            raise SettingsError(
                f"DARKROOM_FAILPOINT: {part!r} is not `name:n[:hang]` with a name of {sorted(NAMES)}"
            )
        name = match["name"]
        armed[name] = int(match["count"] or 1)
        if match["hang"]:
            hanging.add(name)
    _armed.clear()
    _armed.update(armed)
    _hanging.clear()
    _hanging.update(hanging)


def passing(name: str) -> None:
    """Pass the point `name`. Does not return if it was armed for this passage."""
    if name not in _armed:
        return
    with _lock:
        _armed[name] -= 1
        fires = _armed[name] == 0
    if fires and name in _hanging:
        threading.Event().wait()
    elif fires:
        os.kill(os.getpid(), signal.SIGKILL)
