"""A worker without its store or its broker can do nothing useful: it waits, and takes no further photo meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from shared.errors import BrokerUnavailable, StorageUnavailable
from shared.retry import RetryPolicy
from shared.telemetry import logger

T = TypeVar("T")

POLICY = RetryPolicy(base_s=0.5, cap_s=15.0, max_attempts=1_000_000)


class Patient:
    """Calls a service again until it answers. An outage is no fault of a photo: no attempt is counted.

    When `stop` is set the outage is raised, so that a worker can leave while a service is down.
    """

    def __init__(self, service: Any, stop: threading.Event) -> None:
        self._service = service
        self._stop = stop

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._service, name)
        if name in ("open", "list"):  # lazy: their errors appear later, outside this call
            return method
        return lambda *args, **kwargs: self._patiently(lambda: method(*args, **kwargs))

    def _patiently(self, call: Callable[[], T]) -> T:
        attempt = 0
        while True:
            try:
                return call()
            except (StorageUnavailable, BrokerUnavailable) as error:
                attempt += 1
                delay_s = POLICY.delay_s(attempt) or POLICY.cap_s
                logger().warning("service.lost", code=error.code, detail=error.detail, delay_s=round(delay_s, 1))
                if self._stop.wait(delay_s):
                    raise
