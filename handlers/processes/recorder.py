"""The recorder process: `darkroom.log` → batches → the diary, acknowledged after the
commit.

While the database is down the batch in hand is kept and tried again, and the prefetch
bounds what else is held: the log waits in the broker, and no photo notices.
"""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from handlers import metrics
from handlers.audit_log.database import Logbook
from handlers.on_record import Diary, Recorded, on_record
from shared.broker import topology
from shared.broker.consumer import Consumer, Delivery
from shared.errors import DatabaseUnavailable
from shared.runtime import operations
from shared.runtime.failpoints import passing
from shared.runtime.heartbeat import Heartbeat, Pulse
from shared.runtime.retry import RetryPolicy
from shared.runtime.settings import Settings
from shared.runtime.telemetry import logger

PATIENCE = RetryPolicy(base_s=0.5, cap_s=5.0, max_attempts=1_000_000)
IDLE_S = 0.2


class Recorder:
    """Deliveries come in through `put` from any thread; `run` writes them until `stop`
    is set.
    """

    def __init__(
        self,
        settings: Settings,
        diary: Diary,
        stop: threading.Event,
        figures: metrics.RecorderFigures | None = None,
    ) -> None:
        self._settings = settings
        self._diary = diary
        self._stop = stop
        self._inbox: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        self._figures = figures
        self.pulse = Pulse()
        self.writes = True
        """Whether the diary took what it was last given."""

    def put(self, delivery: Delivery) -> None:
        """Take a delivery in hand. Once the recorder is leaving it is left unsettled,
        for another one.
        """
        if not self._stop.is_set():
            self._inbox.put(delivery)

    def run(self) -> None:
        """Returns after `stop`, when what is in hand is written, or could not be."""
        writable = True
        while not self._stop.is_set():
            writable = self._record(self._batch())
        while writable and not self._inbox.empty():
            writable = self._record(self._batch())

    def _batch(self) -> list[Delivery]:
        """At most `log_batch` deliveries; none waits longer than `log_flush_s` for the
        others.
        """
        self.pulse.beat()
        batch: list[Delivery] = []
        wait_s = IDLE_S
        ends: float | None = None
        while len(batch) < self._settings.log_batch:
            try:
                batch.append(self._inbox.get(timeout=wait_s))
            except queue.Empty:
                break
            now = time.monotonic()
            ends = ends or now + self._settings.log_flush_s
            wait_s = 0.0 if self._stop.is_set() else max(0.0, ends - now)
        return batch

    def _record(self, batch: Sequence[Delivery]) -> bool:
        """Write and settle. False: the diary is down and the recorder leaves."""
        if not batch:
            return True
        began = time.monotonic()
        if (recorded := self._persist([delivery.body for delivery in batch])) is None:
            return False
        passing("recorder.after_commit")
        for position, delivery in enumerate(batch):
            if fault := recorded.refused.get(position):
                delivery.dead(fault.code, fault.detail)
            else:
                delivery.ack()
        written = recorded.written
        if self._figures:
            self._figures.written(
                written, len(recorded.refused), time.monotonic() - began
            )
        logger().info(
            "log.written",
            added=written.added,
            repeated=written.repeated,
            rejected=written.rejected,
            unreadable=len(recorded.refused),
        )
        return True

    def _persist(self, bodies: list[bytes]) -> Recorded | None:
        """Committed, however long it takes; None: the recorder had to leave first, the
        broker has them still.
        """
        attempt = 0
        while True:
            self.pulse.beat()
            try:
                recorded = on_record(bodies, self._diary)
            except DatabaseUnavailable as error:
                self.writes = False
                attempt += 1
                delay_s = PATIENCE.delay_s(attempt) or PATIENCE.cap_s
                logger().warning(
                    "log.postponed",
                    events=len(bodies),
                    delay_s=round(delay_s, 2),
                    detail=error.detail,
                )
                if self._stop.wait(delay_s):
                    return None
            else:
                self.writes = True
                return recorded


def main(settings: Settings) -> None:
    """Entry point of the process; SIGTERM and SIGINT let it write what it has and
    leave.
    """
    stop, drained = threading.Event(), threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    logbook = Logbook(settings)
    recorder = Recorder(settings, logbook, stop, metrics.RecorderFigures())
    # Twice a batch: the next one arrives while this one is written.
    consumer = Consumer(settings, {topology.LOG: 2 * settings.log_batch}, recorder.put)
    heartbeat = Heartbeat(
        settings, {"consumer": consumer.stuck_s, "writer": recorder.pulse.quiet_s}
    )
    operations.start(
        settings,
        heartbeat,
        metrics.REGISTRY,
        lambda: {
            "broker": consumer.silent_s() < operations.FRESH_S,
            "database": recorder.writes,
        },
    )
    logger().info("process.started")
    with ThreadPoolExecutor(1, "writer") as pool:
        writing = pool.submit(recorder.run)
        # also when it broke: then the process must end, too
        writing.add_done_callback(lambda _: drained.set())
        try:
            consumer.run(drained)
        finally:
            stop.set()
    logbook.close()
    writing.result()
    logger().info("process.stopped")
