"""The queue door: notifications from `darkroom.uploads` (AMQP, SQS, Redis) → the same
triggers as over HTTP.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from handlers.context import Context
from handlers.take_in import take_in
from shared.broker import topology
from shared.broker.consumer import Consumer, Delivery
from shared.errors import Code, ObjectRefused, PermanentError, TransientError
from shared.runtime.retry import RetryPolicy
from shared.runtime.settings import Settings
from shared.runtime.telemetry import logger

AT_ONCE = 4


def settle(delivery: Delivery, ctx: Context, stop: threading.Event) -> None:
    """Take one notification in, however long the store is down: what waits in the
    broker waits well.
    """
    headers = {
        name.lower(): value
        for name, value in delivery.headers.items()
        if isinstance(value, str)
    }
    patiently(
        delivery,
        lambda: take_in(delivery.body, headers, ctx, "queue"),
        ctx.settings,
        stop,
    )


def patiently(
    delivery: Delivery,
    work: Callable[[], object],
    settings: Settings,
    stop: threading.Event,
) -> None:
    """Do the work of one message and settle it: passing faults are waited out, lasting
    ones set it aside.

    Nobody waits for one object that the store refuses, and no other: the sweep takes
    that over. Left unsettled when the process leaves; another one gets it then.
    """
    policy = RetryPolicy(
        settings.retry_base_s, settings.retry_cap_s, settings.max_attempts
    )
    attempt = 0
    while not stop.is_set():
        attempt += 1
        try:
            work()
            return delivery.ack()
        except ObjectRefused as error:
            logger().warning(
                "message.left_to_sweep",
                queue=delivery.queue,
                code=error.code,
                detail=error.detail,
            )
            return delivery.ack()
        except PermanentError as error:
            return delivery.dead(error.code, error.detail)
        except TransientError:
            delay_s = policy.delay_s(attempt) or policy.cap_s
        except Exception as error:
            logger().error("notification.failed", exc_info=error)
            if (delay := policy.delay_s(attempt)) is None:
                return delivery.dead(
                    Code.INTERNAL,
                    f"{type(error).__name__} in each of {attempt} attempts",
                )
            delay_s = delay
        stop.wait(delay_s)
    return None


class QueueDoor:
    """Consumes on a thread of its own until `stop` is set."""

    def __init__(self, ctx: Context, stop: threading.Event) -> None:
        self._ctx = ctx
        self._stop = stop
        self._pool = ThreadPoolExecutor(AT_ONCE, "uploads")
        self._consumer = Consumer(
            ctx.settings, {topology.UPLOADS: AT_ONCE}, self._on_delivery
        )
        self._thread: threading.Thread | None = None
        self._fault: BaseException | None = None

    def start(self, on_end: Callable[[], object]) -> None:
        """`on_end` is called when consuming ends for whatever reason."""
        self._thread = threading.Thread(
            target=self._run, args=(on_end,), name="consumer"
        )
        self._thread.start()

    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def silent_s(self) -> float:
        """Seconds since the broker was last heard."""
        return self._consumer.silent_s()

    def stuck_s(self) -> float:
        """Seconds for which the consumer hangs."""
        return self._consumer.stuck_s()

    def join(self) -> None:
        """Wait for the end; raises what ended it, if it was a fault."""
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
