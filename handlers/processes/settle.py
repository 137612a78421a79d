"""One message of a queue, handled and settled: acknowledged, or dead-lettered."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

from shared.broker.consumer import Delivery
from shared.errors import Code, ObjectRefused, PermanentError, TransientError
from shared.runtime.retry import RetryPolicy
from shared.runtime.settings import AttemptSettings
from shared.runtime.telemetry import logger

FailureEvent = Literal["notification.failed", "callback.message_failed"]
"""The log event for a bug that a message ran into, by the kind of message."""


def settle_with_retry(
    delivery: Delivery,
    handle: Callable[[], object],
    settings: AttemptSettings,
    stop: threading.Event,
    failure_event: FailureEvent,
) -> None:
    """Call `handle` until it succeeds or fails for good, and settle the delivery.

    A transient error is retried without limit. A bug is retried `max_attempts` times.
    Where the store refuses a single object, the message is acknowledged and the upload
    left to the sweep. Once `stop` is set the delivery stays unsettled, and the broker
    gives it to another process.
    """
    policy = RetryPolicy(
        settings.retry_base_s, settings.retry_cap_s, settings.max_attempts
    )
    attempt = 0
    while not stop.is_set():
        attempt += 1
        try:
            handle()
        except ObjectRefused as error:
            _log_left_to_sweep(delivery, error)
            return delivery.ack()
        except PermanentError as error:
            return delivery.dead(error.code, error.detail)
        except TransientError:
            delay_s = policy.wait_s(attempt)
        except Exception as error:
            logger().error(failure_event, exc_info=error)
            if policy.is_last(attempt):
                detail = f"{type(error).__name__} in each of {attempt} attempts"
                return delivery.dead(Code.INTERNAL, detail)
            delay_s = policy.wait_s(attempt)
        else:
            return delivery.ack()
        stop.wait(delay_s)
    return None


def _log_left_to_sweep(delivery: Delivery, error: ObjectRefused) -> None:
    logger().warning(
        "message.left_to_sweep",
        queue=delivery.queue,
        code=error.code,
        detail=error.detail,
    )
