"""moto's server, whose queues serve one request at a time: `python -m
tests.support.moto_server -H HOST -p PORT`.

By itself moto looks and marks without a lock: two consumers who ask at once may get the
same message, or an error 500.
"""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from moto.server import main
from moto.sqs.models import SQSBackend

ONE_AT_A_TIME = threading.RLock()
LOOK_S = 0.05
CHANGES = (
    "send_message",
    "send_message_batch",
    "delete_message",
    "delete_message_batch",
    "change_message_visibility",
    "change_message_visibility_batch",
    "purge_queue",
    "create_queue",
    "delete_queue",
)


def alone(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def locked(*args: Any, **kwargs: Any) -> Any:
        with ONE_AT_A_TIME:
            return method(*args, **kwargs)

    return locked


def waiting(receive: Callable[..., Any]) -> Callable[..., Any]:
    """Waits for messages outside the lock."""

    @wraps(receive)
    def looked(
        self: SQSBackend, queue: str, count: int, wait_s: int, *args: Any
    ) -> Any:
        ends = time.monotonic() + wait_s
        while (
            not (found := receive(self, queue, count, 0, *args))
            and time.monotonic() < ends
        ):
            time.sleep(LOOK_S)
        return found

    return looked


if __name__ == "__main__":
    for name in CHANGES:
        setattr(SQSBackend, name, alone(getattr(SQSBackend, name)))
    setattr(SQSBackend, "receive_message", waiting(alone(SQSBackend.receive_message)))  # noqa: B010 - typed otherwise
    main(sys.argv[1:])
