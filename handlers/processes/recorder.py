"""The recorder process: batches of `darkroom.log` → the audit log, acknowledged after
the commit.

While the database is down, the current batch is kept and tried again. The prefetch
bounds what else is held: the log waits in the broker, and no photo notices.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry

from handlers.audit_log.database import AuditLog
from handlers.on_record import EventWriter, Recorded, on_record
from handlers.processes.upload_watch import UploadWatch
from shared.broker import topology
from shared.broker.consumer import Consumer, Delivery
from shared.broker.publisher import Publisher, age_s
from shared.errors import DatabaseUnavailable
from shared.runtime import operations, tracing
from shared.runtime.failpoints import passing
from shared.runtime.heartbeat import Heartbeat, Pulse
from shared.runtime.metrics import REGISTRY, counter, gauge, histogram
from shared.runtime.retry import RetryPolicy, retrying
from shared.runtime.settings import AuditLogSettings, Settings
from shared.runtime.signals import on_termination
from shared.runtime.telemetry import logger

DATABASE_RETRY = RetryPolicy(base_s=0.5, cap_s=5.0)
IDLE_S = 0.2


class RecorderFigures:
    """Metrics of the recorder process."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._events = counter(
            "darkroom_log_events_total", "outcome", registry=registry
        )
        self._seconds = histogram(
            "darkroom_log_batch_seconds",
            (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300),
            registry=registry,
        )
        self._batch: Sequence[Delivery] = ()
        lag = gauge("darkroom_log_lag_seconds", registry=registry)
        lag.set_function(self._lag_s)

    def hold(self, batch: Sequence[Delivery]) -> None:
        """Take note of the batch that is being written."""
        self._batch = batch

    def _lag_s(self) -> float:
        now = datetime.now(UTC)
        ages_s = (age_s(delivery.headers, now) for delivery in self._batch)
        return max((age for age in ages_s if age is not None), default=0.0)

    def add(self, recorded: Recorded, seconds: float) -> None:
        """Count one settled batch, which took `seconds` from its first delivery on."""
        outcomes = asdict(recorded.written)
        outcomes["unreadable"] = len(recorded.refused)
        for outcome, number in outcomes.items():
            self._events.labels(outcome=outcome).inc(number)
        self._seconds.observe(seconds)
        self._batch = ()


class Recorder:
    """Deliveries arrive through `put` from any thread; `run` writes them until `stop`
    is set.
    """

    def __init__(
        self,
        settings: AuditLogSettings,
        audit_log: EventWriter,
        stop: threading.Event,
        figures: RecorderFigures | None = None,
        watch: UploadWatch | None = None,
    ) -> None:
        self._settings = settings
        self._audit_log = audit_log
        self._stop = stop
        self._inbox: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        self._figures = figures
        self._watch = watch
        self.pulse = Pulse()
        self.writes = True
        """Whether the audit log took the last batch."""

    def put(self, delivery: Delivery) -> None:
        """Accept a delivery. Once `stop` is set it stays unsettled, and the broker gives
        it to another recorder.
        """
        if not self._stop.is_set():
            self._inbox.put(delivery)

    def run(self) -> None:
        """Return after `stop`, when the accepted deliveries are written or cannot be."""
        writable = True
        while not self._stop.is_set():
            writable = self._record(self._next_batch())
        while writable and not self._inbox.empty():
            writable = self._record(self._next_batch())

    def _next_batch(self) -> list[Delivery]:
        """Return at most `log_batch` deliveries, `log_flush_s` after the first one at
        the latest.
        """
        self.pulse.beat()
        batch: list[Delivery] = []
        wait_s = IDLE_S
        flush_at_s: float | None = None
        while len(batch) < self._settings.log_batch:
            try:
                batch.append(self._inbox.get(timeout=wait_s))
            except queue.Empty:
                break
            now_s = time.monotonic()
            flush_at_s = flush_at_s or now_s + self._settings.log_flush_s
            wait_s = max(0.0, flush_at_s - now_s)
            if self._stop.is_set():
                wait_s = 0.0
        return batch

    def _record(self, batch: Sequence[Delivery]) -> bool:
        """Write a batch and settle it. False: the database is down, and `stop` is set."""
        if not batch:
            return True
        started_s = time.monotonic()
        if self._figures:
            self._figures.hold(batch)
        recorded = self._write([delivery.body for delivery in batch])
        if recorded is None:
            return False
        passing("recorder.after_commit")
        _settle(batch, recorded)
        for delivery in batch:
            tracing.mark("log.written", tracing.parent_in(delivery.headers))
        if self._watch:
            now = datetime.now(UTC)
            self._watch.look([delivery.body for delivery in batch], now)
        if self._figures:
            self._figures.add(recorded, time.monotonic() - started_s)
        logger().info(
            "log.written",
            added=recorded.written.added,
            repeated=recorded.written.repeated,
            rejected=recorded.written.rejected,
            unreadable=len(recorded.refused),
        )
        return True

    def _write(self, bodies: list[bytes]) -> Recorded | None:
        """Write until the commit succeeds. None: `stop` was set first."""
        for attempt in retrying(DATABASE_RETRY, self._stop.wait):
            self.pulse.beat()
            try:
                recorded = on_record(bodies, self._audit_log)
            except DatabaseUnavailable as error:
                self.writes = False
                _log_postponed(len(bodies), attempt.wait_s, error)
            else:
                self.writes = True
                return recorded
        return None


def _settle(batch: Sequence[Delivery], recorded: Recorded) -> None:
    for position, delivery in enumerate(batch):
        fault = recorded.refused.get(position)
        if fault:
            delivery.dead(fault.code, fault.detail)
        else:
            delivery.ack()


def _log_postponed(events: int, delay_s: float, error: DatabaseUnavailable) -> None:
    logger().warning(
        "log.postponed",
        events=events,
        delay_s=round(delay_s, 2),
        detail=error.detail,
    )


def main(settings: Settings) -> None:
    """Run the process. On SIGTERM and SIGINT it writes the deliveries it has, and ends."""
    stop = threading.Event()
    drained = threading.Event()
    on_termination(stop.set)
    audit_log = AuditLog(settings)
    watch = UploadWatch(settings, Publisher(settings))
    recorder = Recorder(settings, audit_log, stop, RecorderFigures(), watch)
    # Twice a batch: the next one arrives while this one is written.
    consumer = Consumer(settings, {topology.LOG: 2 * settings.log_batch}, recorder.put)
    _start_operations(settings, consumer, recorder)
    logger().info("process.started")
    with ThreadPoolExecutor(1, "writer") as pool:
        writing = pool.submit(recorder.run)
        # Whatever ends the writer, even a bug, ends the process.
        writing.add_done_callback(lambda _: drained.set())
        try:
            consumer.run(drained)
        finally:
            stop.set()
    audit_log.close()
    writing.result()
    logger().info("process.stopped")


def _start_operations(
    settings: Settings,
    consumer: Consumer,
    recorder: Recorder,
) -> None:
    parts = {"consumer": consumer.stuck_s, "writer": recorder.pulse.quiet_s}
    operations.start(
        settings,
        Heartbeat(settings, parts),
        REGISTRY,
        lambda: {
            "broker": consumer.silent_s() < operations.FRESH_S,
            "database": recorder.writes,
        },
    )
