"""Servers for a bench alone: nothing else uses them, and no user's photos are
touched.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from infra.local.stack import Stack
from shared.runtime import telemetry
from shared.runtime.settings import PREFIX, Settings


@contextmanager
def own_servers() -> Iterator[Mapping[str, str]]:
    """The environment in which a process finds them. A server that the caller's
    environment names is used as it is. SIGTERM ends the bench as Ctrl-C does: with
    all that it has started.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="darkroom-bench-") as folder:
        state_dir = Path(folder) / "state"
        given = Settings.given(state_dir=state_dir)
        telemetry.configure(given, "bench")  # to stderr: stdout is for figures
        stack = Stack(given, servers_only=True)
        try:
            stack.start()
            yield os.environ | {
                f"{PREFIX}STATE_DIR": str(state_dir),
                "PYTHONSAFEPATH": "1",
            }
        finally:
            stack.stop()
