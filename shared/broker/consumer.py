"""Consuming: one thread owns the connection, any thread may settle. Only here are
messages settled.

A delivery is leased. While its holder lives, the lease is renewed however long the work
takes; when the holder dies, hangs or stops, the message goes to another consumer.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from shared.broker.dead_letter import DeadLetter
from shared.broker.delivery import Delivery, Settlement
from shared.broker.publisher import Publisher
from shared.broker.session import Session
from shared.broker.transports import transport
from shared.runtime import metrics
from shared.runtime.retry import RetryPolicy
from shared.runtime.settings import BrokerSettings
from shared.runtime.telemetry import logger

__all__ = ["Consumer", "Delivery"]

IDLE_WAIT_S = 0.25
BEAT_S = 1.0
RENEWALS_PER_LEASE = 3
RECONNECT = RetryPolicy(base_s=0.2, cap_s=5.0)


class Consumer:
    """Delivers at most `prefetch[queue]` unsettled messages of each queue to
    `on_delivery`.

    `on_delivery` runs on the connection's thread and must return quickly; an exception
    from it is a bug and ends `run`. While `is_alive()` is false no lease is renewed,
    and after `lease_s` of that all deliveries are given up.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        prefetch: Mapping[str, int],
        on_delivery: Callable[[Delivery], None],
        is_alive: Callable[[], bool] = lambda: True,
    ) -> None:
        self._transport = transport(settings)
        self._publisher = Publisher(settings)
        self._lease_s = settings.lease_s
        self._prefetch = dict(prefetch)
        self._on_delivery = on_delivery
        self._is_alive = is_alive
        self._requested: deque[tuple[Delivery, Settlement]] = deque()
        self._pending: list[tuple[Delivery, Settlement]] = []
        self._wake: socket.socket | None = None
        self._held: Mapping[Delivery, Any] = {}
        now_s = monotonic()
        self._answered_s = now_s
        self._away_s = now_s
        self._last_alive_s = now_s

    def silent_s(self) -> float:
        """Seconds since the broker last answered.

        More than 60 mean that the consumer works no longer, or that the broker is away.
        """
        return monotonic() - self._answered_s

    def stuck_s(self) -> float:
        """Seconds since the broker last answered or was last found to be away.

        More than 60 mean that the consumer's loop hangs.
        """
        return monotonic() - max(self._answered_s, self._away_s)

    def run(self, stop: threading.Event) -> None:
        """Consume until `stop`, and reconnect where needed. What is unsettled at the
        end is given back at once.
        """
        sleeper, self._wake = socket.socketpair()
        sleeper.setblocking(False)
        self._wake.setblocking(False)
        self._answered_s = monotonic()
        metrics.LEASES.set_function(lambda: len(self._held))
        try:
            self._run(stop, sleeper)
        finally:
            self._publisher.close()
            self._wake.close()
            sleeper.close()

    def _run(self, stop: threading.Event, sleeper: socket.socket) -> None:
        unsettled: dict[Delivery, Any] = {}
        failures = 0
        while not stop.is_set():
            if not self._may_hold():
                self._away_s = monotonic()
                stop.wait(BEAT_S)
                continue
            connected_s = monotonic()
            unsettled, error = self._session(unsettled, stop, sleeper)
            self._away_s = monotonic()
            if error is None:
                continue
            if monotonic() - connected_s > RECONNECT.cap_s:
                failures = 0
            failures += 1
            delay_s = RECONNECT.wait_s(failures)
            # The error's type only: messages of client libraries may contain addresses
            # with credentials.
            name = type(error).__name__
            logger().warning("broker.lost", error=name, delay_s=round(delay_s, 2))
            stop.wait(delay_s)

    def _session(
        self,
        unsettled: dict[Delivery, Any],
        stop: threading.Event,
        sleeper: socket.socket,
    ) -> tuple[dict[Delivery, Any], Exception | None]:
        """Run one connection from its beginning to its end.

        Returns the deliveries that are still held, and the error that broke the
        connection.
        """
        session = None
        try:
            session = Session(
                self._transport,
                self._prefetch,
                self._on_delivery,
                self._request,
                unsettled,
            )
            self._held = session.unsettled
            logger().info("broker.connected", queues=sorted(self._prefetch))
            self._serve(session, stop, sleeper)
            self._settle_requested(session)
            session.close()
        except self._transport.errors as error:
            if session is None:
                return unsettled, error
            session.abandon()
            survive = self._transport.leases_survive
            return session.unsettled if survive else {}, error
        except BaseException:
            if session is not None:
                session.abandon()
            raise
        return {}, None

    def _serve(
        self, session: Session, stop: threading.Event, sleeper: socket.socket
    ) -> None:
        renewal_s = self._lease_s / RENEWALS_PER_LEASE
        next_beat = 0.0
        next_renewal = monotonic() + renewal_s
        while not stop.is_set() and self._may_hold():
            session.wait(sleeper, IDLE_WAIT_S)
            with suppress(BlockingIOError):
                sleeper.recv(4096)
            self._settle_requested(session)
            now = monotonic()
            if now >= next_beat:
                self._answered_s = session.beat()
                next_beat = now + BEAT_S
            if now >= next_renewal and self._is_alive():
                session.renew()
                next_renewal = now + renewal_s

    def _may_hold(self) -> bool:
        """Whether the process was alive within the last lease."""
        if self._is_alive():
            self._last_alive_s = monotonic()
        return monotonic() - self._last_alive_s < self._lease_s

    def _request(self, delivery: Delivery, settlement: Settlement) -> None:
        """Ask the connection's thread to settle; callable from any thread."""
        self._requested.append((delivery, settlement))
        wake = self._wake
        if wake is not None:
            # A full socket means that the thread is awake already, a closed one that no
            # connection is left: then the message is delivered again.
            with suppress(OSError):
                wake.send(b"!")

    def _settle_requested(self, session: Session) -> None:
        """Carry out what was requested. What fails is tried again by the next session."""
        while self._requested:
            self._pending.append(self._requested.popleft())
        if not self._pending:
            return
        for index, (delivery, settlement) in enumerate(self._pending):
            if settlement.code is not None and delivery in session.unsettled:
                self._publish_dead_letter(delivery, settlement.code, settlement.detail)
                # Published: if the connection breaks now, only acknowledge.
                self._pending[index] = (delivery, Settlement())
        session.settle([delivery for delivery, _ in self._pending])
        self._pending.clear()

    def _publish_dead_letter(self, delivery: Delivery, code: str, detail: str) -> None:
        letter = DeadLetter.of(
            delivery.queue,
            delivery.body,
            delivery.headers,
            code,
            detail,
            datetime.now(UTC),
        )
        letter.publish(self._publisher)
        metrics.DEAD_LETTERS.labels(queue=letter.queue, code=letter.code).inc()
        logger().warning(
            "message.dead", queue=letter.queue, code=letter.code, **delivery.ids()
        )
