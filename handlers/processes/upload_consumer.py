"""Storage notifications from the queue `darkroom.uploads` (AMQP, SQS, Redis), decided
on by the same trigger as those over HTTP.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from handlers.context import Context
from handlers.processes.settle import settle_with_retry
from handlers.take_in import take_in
from shared.broker import topology
from shared.broker.consumer import Consumer, Delivery

WORKERS = 4
"""Notifications handled at the same time."""


def settle(delivery: Delivery, ctx: Context, stop: threading.Event) -> None:
    """Decide on one notification, and settle it.

    While the store is down the notification stays unacknowledged in the broker.
    """
    headers = {
        name.lower(): value
        for name, value in delivery.headers.items()
        if isinstance(value, str)
    }

    def handle() -> None:
        take_in(delivery.body, headers, ctx, "queue")

    settle_with_retry(delivery, handle, ctx.settings, stop, "notification.failed")


class QueueConsumer:
    """Consumes notifications on a thread of its own until `stop` is set."""

    def __init__(self, ctx: Context, stop: threading.Event) -> None:
        self._ctx = ctx
        self._stop = stop
        self._pool = ThreadPoolExecutor(WORKERS, "uploads")
        self._consumer = Consumer(
            ctx.settings, {topology.UPLOADS: WORKERS}, self._on_delivery
        )
        self._thread: threading.Thread | None = None
        self._fault: BaseException | None = None

    def start(self, on_end: Callable[[], object]) -> None:
        """Start consuming. `on_end` is called when it ends, for whatever reason."""
        self._thread = threading.Thread(
            target=self._run, args=(on_end,), name="consumer"
        )
        self._thread.start()

    def is_running(self) -> bool:
        """Return whether the consumer's thread is alive."""
        return self._thread is not None and self._thread.is_alive()

    def silent_s(self) -> float:
        """Return the seconds since the broker last answered."""
        return self._consumer.silent_s()

    def stuck_s(self) -> float:
        """Return the seconds for which the consumer has been hanging."""
        return self._consumer.stuck_s()

    def join(self) -> None:
        """Wait for the end of the thread; raise the error that ended it, if any."""
        if self._thread:
            self._thread.join()
        if self._fault:
            raise self._fault

    def _run(self, on_end: Callable[[], object]) -> None:
        try:
            with self._pool:
                self._consumer.run(self._stop)
        except BaseException as error:
            self._fault = error
        finally:
            on_end()

    def _on_delivery(self, delivery: Delivery) -> None:
        self._pool.submit(settle, delivery, self._ctx, self._stop)
