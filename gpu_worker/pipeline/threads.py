"""The threads of the worker. If one of them dies, the process ends."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress

from shared.runtime.heartbeat import Pulse, give
from shared.runtime.telemetry import logger

EXIT_STUCK = 70
BACKGROUND_NICE = 5


def start(
    name: str,
    target: Callable[[], None],
    pulse: Pulse | None = None,
    in_background: bool = True,
) -> threading.Thread:
    """Run `target` in a daemon thread that shows its signs of life by `pulse`."""

    def run() -> None:
        give(pulse or Pulse())
        if in_background:
            _lower_priority()
        try:
            target()
        except Exception:
            # A worker without one of its threads would hold its photos for ever: no
            # worker is better than half of one.
            logger().critical("process.stuck", thread=name, exc_info=True)
            os._exit(EXIT_STUCK)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


def _lower_priority() -> None:
    """Leave the cores to inference; on Linux each thread has a niceness of its own."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BACKGROUND_NICE)
