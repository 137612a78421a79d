"""Consuming: one thread owns the connection, any thread settles; the only place that
settles a message.

A delivery is leased. While its holder lives, the lease is renewed however long the work
takes; when the holder dies, is stuck, or stops, the message goes to another. `silent_s`
tells the owner when the broker was last heard, `stuck_s` whether the consumer itself
hangs.
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

from shared.broker.delivery import Delivery, Ruling
from shared.broker.publisher import Publisher
from shared.broker.session import Session
from shared.broker.topology import dead
from shared.broker.transports import transport
from shared.runtime.retry import RetryPolicy
from shared.runtime.settings import Settings
from shared.runtime.telemetry import logger

__all__ = ["Consumer", "Delivery"]

IDLE_WAIT_S = 0.25
BEAT_S = 1.0
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
        settings: Settings,
        prefetch: Mapping[str, int],
        on_delivery: Callable[[Delivery], None],
        is_alive: Callable[[], bool] = lambda: True,
    ) -> None:
        self._transport = transport(settings)
        self._publisher = Publisher(settings)
        self._lease_s = settings.lease_s
        self._prefetch, self._on_delivery, self._is_alive = (
            dict(prefetch),
            on_delivery,
            is_alive,
        )
        self._rulings: deque[tuple[Delivery, Ruling]] = deque()
        self._pending: list[tuple[Delivery, Ruling]] = []
        self._wake: socket.socket | None = None
        self._heard = self._missed = self._last_alive = monotonic()

    def silent_s(self) -> float:
        """Seconds since the broker last answered. Over 60 means a consumer that only
        looks alive.
        """
        return monotonic() - self._heard

    def stuck_s(self) -> float:
        """Seconds since the broker last answered or was last found to be away. Over 60
        means that the loop hangs.
        """
        return monotonic() - max(self._heard, self._missed)

    def run(self, stop: threading.Event) -> None:
        """Consume until `stop`; reconnects by itself. What is unsettled at the end is
        given back at once.
        """
        sleeper, self._wake = socket.socketpair()
        sleeper.setblocking(False)
        self._wake.setblocking(False)
        self._heard = monotonic()
        try:
            self._run(stop, sleeper)
        finally:
            self._publisher.close()
            self._wake.close()
            sleeper.close()

    def _run(self, stop: threading.Event, sleeper: socket.socket) -> None:
        in_hand: dict[Delivery, Any] = {}
        failures = 0
        while not stop.is_set():
            if not self._may_hold():
                self._missed = monotonic()
                stop.wait(BEAT_S)
                continue
            connected = monotonic()
            in_hand, error = self._session(in_hand, stop, sleeper)
            self._missed = monotonic()
            if error is None:
                continue
            failures = 1 if monotonic() - connected > RECONNECT.cap_s else failures + 1
            delay_s = RECONNECT.wait_s(failures)
            # The type only: messages of client libraries may carry addresses with
            # credentials.
            logger().warning(
                "broker.lost", error=type(error).__name__, delay_s=round(delay_s, 2)
            )
            stop.wait(delay_s)

    def _session(
        self,
        in_hand: dict[Delivery, Any],
        stop: threading.Event,
        sleeper: socket.socket,
    ) -> tuple[dict[Delivery, Any], Exception | None]:
        """One connection, from connecting to its end: what is still in hand, and what
        broke it.
        """
        session = None
        try:
            session = Session(
                self._transport,
                self._prefetch,
                self._on_delivery,
                self._request,
                in_hand,
            )
            logger().info("broker.connected", queues=sorted(self._prefetch))
            self._serve(session, stop, sleeper)
            self._carry_out(session)
            session.close()
        except self._transport.errors as error:
            if session is None:
                return in_hand, error
            session.abandon()
            return session.in_hand if self._transport.leases_survive else {}, error
        except BaseException:
            if session is not None:
                session.abandon()
            raise
        return {}, None

    def _serve(
        self, session: Session, stop: threading.Event, sleeper: socket.socket
    ) -> None:
        next_beat, next_renewal = 0.0, monotonic() + self._lease_s / 3
        while not stop.is_set() and self._may_hold():
            session.wait(sleeper, IDLE_WAIT_S)
            with suppress(BlockingIOError):
                sleeper.recv(4096)
            self._carry_out(session)
            now = monotonic()
            if now >= next_beat:
                self._heard, next_beat = session.beat(), now + BEAT_S
            if now >= next_renewal and self._is_alive():
                session.renew()
                next_renewal = now + self._lease_s / 3

    def _may_hold(self) -> bool:
        """Whether the process was alive within the last lease."""
        if self._is_alive():
            self._last_alive = monotonic()
        return monotonic() - self._last_alive < self._lease_s

    def _request(self, delivery: Delivery, ruling: Ruling) -> None:
        self._rulings.append((delivery, ruling))
        wake = self._wake
        if wake is not None:
            # full: it is awake; closed: nobody is left to settle, the message comes
            # again
            with suppress(OSError):
                wake.send(b"!")

    def _carry_out(self, session: Session) -> None:
        """Settle what was ruled. What fails half-way is kept and tried again by the
        next session.
        """
        while self._rulings:
            self._pending.append(self._rulings.popleft())
        if not self._pending:
            return
        for index, (delivery, ruling) in enumerate(self._pending):
            if ruling.code is not None and delivery in session.in_hand:
                self._bury(delivery, ruling)
                self._pending[index] = (delivery, Ruling())
        session.settle([delivery for delivery, _ in self._pending])
        self._pending.clear()

    def _bury(self, delivery: Delivery, ruling: Ruling) -> None:
        kept = {
            name: value
            for name, value in delivery.headers.items()
            if isinstance(value, str)
        }
        reason = {
            "code": str(ruling.code),
            "detail": ruling.detail[:1000],
            "queue": delivery.queue,
            "at": datetime.now(UTC).isoformat(),
        }
        self._publisher.publish(dead(delivery.queue), delivery.body, kept | reason)
        logger().warning("message.dead", queue=delivery.queue, code=reason["code"])
