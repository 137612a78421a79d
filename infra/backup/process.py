"""The backup as a process: one run after another, with a sign of life and figures."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry

from infra.backup import manifest
from infra.backup.drills import Drills
from infra.backup.prune import prune
from infra.backup.run import Report, back_up
from infra.backup.vault import vault_of
from shared.backup_state import BackupState
from shared.broker.publisher import Publisher
from shared.errors import DarkroomError
from shared.notices import tell
from shared.runtime import metrics, operations
from shared.runtime.heartbeat import Heartbeat
from shared.runtime.settings import Settings
from shared.runtime.signals import on_termination
from shared.runtime.telemetry import logger
from shared.s3.store import S3Store

FOLLOW_S = 20.0
"""Pause between two runs of a backup that follows: what is new is in it within a
minute.
"""
FIRST_S = 60.0
"""A stack that has no backup yet gets its first one so soon."""
RETRY_S = 60.0


class Figures:
    """Metrics of the process."""

    def __init__(self, registry: CollectorRegistry = metrics.REGISTRY) -> None:
        self.registry = registry
        self._success = metrics.gauge(
            "darkroom_backup_last_success_timestamp_seconds", registry=registry
        )
        self._seconds = metrics.gauge("darkroom_backup_seconds", registry=registry)
        self._findings = metrics.gauge("darkroom_backup_findings", registry=registry)

    def begun_with(self, last: datetime | None) -> None:
        """A process that starts knows of the runs before it."""
        if last is not None:
            self._success.set(last.timestamp())

    def finished(self, report: Report) -> None:
        self._success.set(datetime.fromisoformat(report.begun).timestamp())
        self._seconds.set(report.seconds)
        self._findings.set(len(report.findings))


class Rounds:
    """Runs of the backup until `stop` is set; `well`: whether the last one succeeded."""

    def __init__(self, settings: Settings, interval_s: float, figures: Figures) -> None:
        self._settings, self._interval_s = settings, interval_s
        self.stop = threading.Event()
        self.figures = figures
        self.well = True

    def run(self) -> None:
        """Return after `stop`."""
        delay_s = self._first_s()
        while not self.stop.wait(delay_s):
            delay_s = self._once()

    def _first_s(self) -> float:
        """Seconds until the first run is due."""
        try:
            last = last_run(self._settings)
        except (DarkroomError, OSError):
            return min(self._interval_s, RETRY_S)
        self.figures.begun_with(last)
        if last is None:
            return min(self._interval_s, FIRST_S)
        since_s = (datetime.now(UTC) - last).total_seconds()
        return max(0.0, self._interval_s - since_s)

    def _once(self) -> float:
        """Make one run; returns the seconds until the next."""
        started = datetime.now(UTC)
        try:
            report = back_up(self._settings)
            if report.full:
                self._prune()
        except (DarkroomError, OSError) as error:
            was_well, self.well = self.well, False
            delay_s = min(self._interval_s, RETRY_S)
            code = getattr(error, "code", type(error).__name__)
            logger().error("backup.failed", code=code, delay_s=delay_s)
            if was_well:
                detail = f"a backup failed: {code}"
                tell(Publisher(self._settings), "backup", detail)
            return delay_s
        self.well = True
        self.figures.finished(report)
        note(self._settings, report)
        logger().info("backup.finished", **report.printed())
        took_s = (datetime.now(UTC) - started).total_seconds()
        return max(0.0, self._interval_s - took_s)

    def _prune(self) -> None:
        keep_days = self._settings.backup_keep_days
        if keep_days:
            pruned = prune(self._settings, vault_of(self._settings), keep_days)
            logger().info("backup.pruned", **pruned.printed())


def note(settings: Settings, report: Report) -> None:
    """Write into the bucket how the run was: those who look after Darkroom ask there.

    A key that may not write there costs that alone.
    """
    state = BackupState(
        begun_at=datetime.fromisoformat(report.begun),
        seconds=report.seconds,
        objects=report.objects,
        findings=len(report.findings),
    )
    try:
        S3Store(settings).put(
            settings.bucket_results, state.place(), state.to_bytes(), "application/json"
        )
    except (DarkroomError, OSError) as error:
        logger().warning("backup.unnoted", detail=str(error))


def last_run(settings: Settings) -> datetime | None:
    """When the newest run of the vault was begun; None where there is none."""
    known = manifest.runs(vault_of(settings))
    return known[-1].begun if known else None


def main(settings: Settings, interval_s: float) -> None:
    """Run until SIGTERM. A run that is cut off is gone on with by the next one.

    `interval_s` 0: no run by itself; drills may be made nevertheless.
    """
    rounds = Rounds(settings, interval_s, Figures())
    on_termination(rounds.stop.set)
    # A run takes as long as there is much that is new: it has no limit to be quiet.
    heartbeat = Heartbeat(settings, {})
    operations.start(
        settings, heartbeat, rounds.figures.registry, lambda: {"backup": rounds.well}
    )
    logger().info("process.started")
    if interval_s:
        threading.Thread(target=rounds.run, name="rounds", daemon=True).start()
    if settings.drill_interval_s:
        drills = Drills(settings)
        threading.Thread(
            target=drills.run, args=(rounds.stop,), name="drills", daemon=True
        ).start()
    rounds.stop.wait()
    logger().info("process.stopped")
