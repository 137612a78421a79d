"""What keeps the HTTP door open while a service behind it is slow or away: few threads,
short waits, quick refusals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import ceil
from typing import TypeVar

import anyio
from anyio.to_thread import run_sync

from handlers.context import Publisher
from handlers.http.problems import RETRY_AFTER_S, Problem
from shared.errors import BrokerUnavailable, Code, TransientError
from shared.runtime.breaker import Breaker
from shared.runtime.retry import RetryPolicy
from shared.runtime.telemetry import logger

T = TypeVar("T")

AT_ONCE = 8
"""Uploads looked at at the same time; each holds one piece of 1 MiB."""
WAITING = 64
"""Most who wait for their turn, each with the bytes of a notification."""
TURN_S = 5.0
"""Longest wait for a turn."""
FAILURES = 3
POLICY = RetryPolicy(base_s=0.5, cap_s=2.0, max_attempts=1_000_000)
"""A client library has tried several times before it counts as one failure;
notifications are worth a quick return.
"""


class Turns:
    """Work on threads, `AT_ONCE` at a time. Refuses with 503 and a time, rather than
    let requests pile up.
    """

    def __init__(self, turn_s: float = TURN_S, circuit: Breaker | None = None) -> None:
        self._turn_s, self._circuit = turn_s, circuit or Breaker(POLICY, FAILURES)
        self._turns, self._threads = (
            anyio.CapacityLimiter(AT_ONCE),
            anyio.CapacityLimiter(AT_ONCE),
        )

    async def take(self, work: Callable[[], T]) -> T:
        """Raises `Problem(503)` at once while the store is away or too many wait, else
        within `turn_s`.
        """
        if self._turns.statistics().tasks_waiting >= WAITING:
            raise _busy()
        turn = object()
        try:
            with anyio.fail_after(self._turn_s):
                await self._turns.acquire_on_behalf_of(turn)
        except TimeoutError:
            raise _busy() from None
        try:
            return await run_sync(self._guarded, work, limiter=self._threads)
        finally:
            self._turns.release_on_behalf_of(turn)

    def _guarded(self, work: Callable[[], T]) -> T:
        # On the thread, whose work ends also when the client has left: a probe always
        # has an outcome.
        if wait_s := self._circuit.admit():
            detail = "the object store did not answer a moment ago"
            raise Problem(
                503,
                detail,
                Code.STORAGE_UNAVAILABLE,
                {"Retry-After": str(ceil(wait_s))},
            )
        return _through(self._circuit, work, Code.STORAGE_UNAVAILABLE)


class SparingPublisher:
    """Asks a broker that is away now and then only: the sweep publishes what it did not
    take, nobody waits for it.
    """

    def __init__(self, publisher: Publisher, circuit: Breaker | None = None) -> None:
        self._publisher, self._circuit = publisher, circuit or Breaker(POLICY)

    def publish(
        self, queue: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        self._call(lambda: self._publisher.publish(queue, body, headers))

    def publish_many(
        self,
        queue: str,
        bodies: Iterable[bytes],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._call(lambda: self._publisher.publish_many(queue, bodies, headers))

    def _call(self, call: Callable[[], None]) -> None:
        if self._circuit.admit():
            raise BrokerUnavailable("not asked: it did not answer a moment ago")
        _through(self._circuit, call, Code.BROKER_UNAVAILABLE)


def _busy() -> Problem:
    detail = "too many uploads are being looked at; the notification must come again"
    return Problem(503, detail, "busy", {"Retry-After": str(RETRY_AFTER_S)})


def _through(circuit: Breaker, call: Callable[[], T], code: Code) -> T:
    """An admitted call; its outcome is told to the circuit. `code`: that of the error
    which says "away".
    """
    try:
        result = call()
    except BaseException as error:
        if isinstance(error, TransientError) and error.code == code:
            if delay_s := circuit.failed():
                logger().warning(
                    "service.lost",
                    code=code,
                    detail=error.detail,
                    delay_s=round(delay_s, 1),
                )
        else:
            _back(circuit, code)
        raise
    _back(circuit, code)
    return result


def _back(circuit: Breaker, code: Code) -> None:
    if circuit.answered():
        logger().info("service.back", code=code)
