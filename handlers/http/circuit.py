"""Calls to a service through a circuit breaker, so that a service that is away is not
called by every request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from handlers.context import Publisher
from shared.errors import BrokerUnavailable, Code, TransientError
from shared.runtime.breaker import Breaker
from shared.runtime.retry import RetryPolicy
from shared.runtime.telemetry import logger

T = TypeVar("T")

POLICY = RetryPolicy(base_s=0.5, cap_s=2.0)
"""The pause between two probes. It is short: a client library has tried several times
before it counts as one failure, and a notification is worth a quick return.
"""


class CircuitBreakingPublisher:
    """Publishes while the circuit is closed. What is refused while it is open is
    published later by the sweep.
    """

    def __init__(
        self,
        publisher: Publisher,
        circuit: Breaker | None = None,
    ) -> None:
        self._publisher = publisher
        self._circuit = circuit or Breaker(POLICY)

    def publish(
        self,
        queue: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Raises `BrokerUnavailable`."""
        self._call(lambda: self._publisher.publish(queue, body, headers))

    def publish_many(
        self,
        queue: str,
        bodies: Iterable[bytes],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Raises `BrokerUnavailable`."""
        self._call(lambda: self._publisher.publish_many(queue, bodies, headers))

    def _call(self, call: Callable[[], None]) -> None:
        if self._circuit.admit():
            raise BrokerUnavailable("not called: it did not answer a moment ago")
        call_admitted(self._circuit, call, Code.BROKER_UNAVAILABLE)


def call_admitted(
    circuit: Breaker,
    call: Callable[[], T],
    away: Code,
) -> T:
    """Make a call that `circuit` has admitted, and report its outcome to the circuit.

    `away` is the code of the error that says that the service is away; any other error
    is an answer of the service.
    """
    try:
        result = call()
    except BaseException as error:
        if isinstance(error, TransientError) and error.code == away:
            _report_failure(circuit, error)
        else:
            _report_answer(circuit, away)
        raise
    _report_answer(circuit, away)
    return result


def _report_failure(
    circuit: Breaker,
    error: TransientError,
) -> None:
    delay_s = circuit.failed()
    if delay_s:
        logger().warning(
            "service.lost",
            code=error.code,
            detail=error.detail,
            delay_s=round(delay_s, 1),
        )


def _report_answer(circuit: Breaker, away: Code) -> None:
    was_away = circuit.answered()
    if was_away:
        logger().info("service.back", code=away)
