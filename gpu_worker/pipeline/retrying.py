"""A worker without its store or its broker can do nothing useful: it waits, and takes
no further photo meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from shared.errors import (
    BrokerUnavailable,
    ObjectRefused,
    StorageUnavailable,
    TransientError,
)
from shared.runtime.breaker import Breaker
from shared.runtime.heartbeat import own
from shared.runtime.retry import RetryPolicy
from shared.runtime.telemetry import logger

T = TypeVar("T")

POLICY = RetryPolicy(base_s=0.5, cap_s=15.0, max_attempts=1_000_000)
TRIES = 3
"""Of one object that alone is refused: a chunk may be on its way to another disk, a
connection may break by chance.
"""
HUNG_S = 10.0
"""An object about which the store was silent for longer is not asked for again."""
WRITES = ("put", "put_new", "copy")
"""A full store refuses these and answers all others: they have a circuit of their own.
"""


class Patient:
    """Calls a service again until it answers. An outage is no fault of a photo: no
    attempt is counted.

    All threads share a circuit breaker: while the service is away one of them asks at a
    time, the others wait for it. For one object that the store refuses, and no other,
    nobody waits: that is raised after a few tries. When `stop` is set the outage is
    raised, so that a worker can leave while a service is down. A thread that waits for
    a service does not hang, however long a call takes: sockets have limits of their
    own.
    """

    def __init__(
        self,
        service: Any,
        stop: threading.Event,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = service
        self._stop = stop
        self._monotonic = monotonic
        self._circuits = {
            is_write: Breaker(POLICY, monotonic=monotonic) for is_write in (True, False)
        }
        self._outage: TransientError = StorageUnavailable(
            "not asked, as it did not answer before"
        )

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._service, name)
        # lazy: their errors appear later, outside this call
        if name in ("open", "list"):
            return method
        circuit = self._circuits[name in WRITES]

        def patiently(*args: Any, **kwargs: Any) -> Any:
            with own().waiting():
                return self._patiently(circuit, lambda: method(*args, **kwargs))

        return patiently

    def _patiently(self, circuit: Breaker, call: Callable[[], T]) -> T:
        policy = replace(POLICY, max_attempts=TRIES)
        tries = 0
        while True:
            if not (wait_s := circuit.admit()):
                asked_s = self._monotonic()
                try:
                    result = call()
                except ObjectRefused as error:
                    self._answered(circuit)
                    tries += 1
                    hung = self._monotonic() - asked_s > HUNG_S
                    if (
                        hung
                        or (delay_s := policy.delay_s(tries)) is None
                        or self._stop.is_set()
                    ):
                        raise
                    logger().warning(
                        "object.refused",
                        code=error.code,
                        detail=error.detail,
                        delay_s=delay_s,
                    )
                    wait_s = delay_s
                except (StorageUnavailable, BrokerUnavailable) as error:
                    self._outage = error
                    wait_s = circuit.failed()
                    logger().warning(
                        "service.lost",
                        code=error.code,
                        detail=error.detail,
                        delay_s=round(wait_s, 1),
                    )
                except BaseException:
                    self._answered(circuit)
                    raise
                else:
                    self._answered(circuit)
                    return result
            if self._stop.wait(wait_s):
                raise self._outage

    def _answered(self, circuit: Breaker) -> None:
        if circuit.answered():
            logger().info("service.back", code=self._outage.code)
