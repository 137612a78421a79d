"""A store and a publisher that are called again until they answer.

A worker without its store or its broker can do nothing useful: it waits, and takes no
further photo meanwhile. An outage is no fault of a photo, so no attempt is counted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol, TypeVar

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
from shared.s3.store import ObjectStore
from shared.s3.wrapped_store import WrappedStore

T = TypeVar("T")

POLICY = RetryPolicy(base_s=0.5, cap_s=15.0)
TRIES = 3
"""Tries for one object that alone is refused: a chunk may be on its way to another
disk, a connection may break by chance.
"""
HUNG_S = 10.0
"""An object about which the store was silent for longer is not requested again."""


class Publisher(Protocol):
    """What a worker needs of a broker."""

    def publish(
        self, queue: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        """Raises `BrokerUnavailable`."""


class Circuit:
    """Repeats requests to one service until it answers.

    All threads share a circuit breaker: while the service is away one of them tries at
    a time, and the others wait. If the store refuses a single object but answers
    otherwise, `ObjectRefused` is raised after a few tries. When `stop` is set the
    outage is raised, so that a worker can leave while a service is down. A thread that
    waits here does not count as stuck: sockets have time limits of their own.
    """

    def __init__(
        self,
        stop: threading.Event,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stop = stop
        self._monotonic = monotonic
        self._breaker = Breaker(POLICY, monotonic=monotonic)
        self._refusals = replace(POLICY, max_attempts=TRIES)
        self._outage: TransientError = StorageUnavailable(
            "no request was made, as the service did not answer before"
        )

    def call(self, request: Callable[[], T]) -> T:
        """The answer to `request`, or the error that it raises when the service is
        there.
        """
        refused = 0
        with own().waiting():
            while True:
                wait_s = self._breaker.admit()
                if not wait_s:
                    asked_s = self._monotonic()
                    try:
                        return self._call_once(request)
                    except ObjectRefused as error:
                        refused += 1
                        pause_s = self._pause_s(refused, asked_s)
                        if pause_s is None:
                            raise
                        _log("object.refused", error, pause_s)
                        wait_s = pause_s
                    except (StorageUnavailable, BrokerUnavailable) as error:
                        self._outage = error
                        wait_s = self._breaker.failed()
                        _log("service.lost", error, wait_s)
                if self._stop.wait(wait_s):
                    raise self._outage

    def _call_once(self, request: Callable[[], T]) -> T:
        """Make the request. Unless it failed by an outage, the breaker hears that the
        service answered.
        """
        try:
            answer = request()
        except BaseException as error:
            if not is_outage(error):
                self._close()
            raise
        self._close()
        return answer

    def _pause_s(self, refused: int, asked_s: float) -> float | None:
        """Seconds until a refused object is requested again; None: not again."""
        hung = self._monotonic() - asked_s > HUNG_S
        if hung or self._stop.is_set():
            return None
        return self._refusals.delay_s(refused)

    def _close(self) -> None:
        if self._breaker.answered():
            logger().info("service.back", code=self._outage.code)


class RetryingStore(WrappedStore):
    """A store whose calls are repeated while it is away.

    Writes have a circuit of their own, because a full store refuses them and answers
    everything else. Opening and listing are not repeated: their requests are made
    later, while the caller reads.
    """

    def __init__(
        self,
        store: ObjectStore,
        stop: threading.Event,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(store)
        self._calls = Circuit(stop, monotonic)
        self._writes = Circuit(stop, monotonic)

    def _call(self, request: Callable[[], T]) -> T:
        return self._calls.call(request)

    def _write(self, request: Callable[[], T]) -> T:
        return self._writes.call(request)


class RetryingPublisher:
    """A publisher whose messages are sent again while the broker is away."""

    def __init__(self, publisher: Publisher, stop: threading.Event) -> None:
        self._publisher = publisher
        self._circuit = Circuit(stop)

    def publish(
        self, queue: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        self._circuit.call(lambda: self._publisher.publish(queue, body, headers))


def is_outage(error: BaseException) -> bool:
    """Whether a whole service is away, rather than one object refused."""
    if isinstance(error, ObjectRefused):
        return False
    return isinstance(error, StorageUnavailable | BrokerUnavailable)


def _log(event: str, error: TransientError, delay_s: float) -> None:
    logger().warning(
        event, code=error.code, detail=error.detail, delay_s=round(delay_s, 1)
    )
