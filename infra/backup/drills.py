"""Drills on a schedule: the backup process starts `darkroom drill`, and its metrics say
how it ended, so that an alert can.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import CollectorRegistry

from shared.broker.publisher import Publisher
from shared.notices import tell
from shared.runtime import metrics
from shared.runtime.settings import Settings
from shared.runtime.telemetry import logger

DRILL_S = 6 * 3600.0


def folder_of(settings: Settings) -> Path:
    """Where protocols lie: beside the state folder, which a restore wants empty."""
    state = settings.state_dir.expanduser().resolve()
    return state.with_name(f"{state.name}-drills")


class Drills:
    """A drill each `drill_interval_s`, counted from the last one's protocol."""

    def __init__(
        self, settings: Settings, registry: CollectorRegistry = metrics.REGISTRY
    ) -> None:
        self._settings = settings
        self._folder = folder_of(settings)
        self._interval_s = settings.drill_interval_s
        self._success = metrics.gauge(
            "darkroom_drill_last_success_timestamp_seconds", registry=registry
        )
        self._passed = metrics.gauge("darkroom_drill_passed", registry=registry)
        self._passed.set(1)

    def run(self, stop: threading.Event) -> None:
        """Return after `stop`."""
        while not stop.wait(self.due_s()):
            self.note(self._drill())

    def due_s(self) -> float:
        """Seconds until the next drill; what the last one said is in the metrics then."""
        protocols = sorted(self._folder.glob("drill-*.json"))
        if not protocols:
            return self._interval_s
        last = json.loads(protocols[-1].read_text())
        begun = datetime.fromisoformat(last["begun"])
        self._passed.set(bool(last["passed"]))
        if last["passed"]:
            self._success.set(begun.timestamp())
        since_s = (datetime.now(UTC) - begun).total_seconds()
        return max(0.0, self._interval_s - since_s)

    def note(self, passed: bool) -> None:
        """Say how a drill ended."""
        self._passed.set(passed)
        if passed:
            logger().info("drill.passed")
        else:
            logger().error("drill.failed", protocols=str(self._folder))
            detail = "a drill failed; its protocol says what was found"
            tell(Publisher(self._settings), "drill", detail)

    def _drill(self) -> bool:
        command = [sys.executable, "-P", "-m", "infra.cli", "drill", "--json"]
        try:
            done = subprocess.run(
                command,
                stdout=subprocess.DEVNULL,
                env=dict(os.environ),
                timeout=DRILL_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0
