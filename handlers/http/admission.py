"""Limits the work on notifications while the object store is slow or away: few threads,
short waits, quick refusals.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import ceil
from typing import TypeVar

import anyio
from anyio.to_thread import run_sync

from handlers.http.circuit import POLICY, call_admitted
from handlers.http.problems import RETRY_AFTER_S, Problem
from shared.errors import Code
from shared.runtime.breaker import Breaker

T = TypeVar("T")

AT_ONCE = 8
"""Notifications decided on at the same time; each holds one piece of 1 MiB."""
WAITING = 64
"""Most requests that wait for a thread, each with the bytes of a notification."""
WAIT_S = 5.0
"""Longest wait for a thread."""
FAILURES = 3
"""Failures in a row after which the store counts as away."""


class AdmissionControl:
    """Runs work on threads, `AT_ONCE` at a time. Requests beyond `WAITING` are refused
    with 503 and a time, so that none pile up.
    """

    def __init__(
        self,
        wait_s: float = WAIT_S,
        circuit: Breaker | None = None,
    ) -> None:
        self._wait_s = wait_s
        self._circuit = circuit or Breaker(POLICY, FAILURES)
        self._places = anyio.CapacityLimiter(AT_ONCE)
        self._threads = anyio.CapacityLimiter(AT_ONCE)

    async def run(self, work: Callable[[], T]) -> T:
        """The result of `work`.

        Raises `Problem` 503: at once while the store is away or too many requests wait,
        otherwise after `wait_s`.
        """
        async with self._place():
            return await run_sync(self._guarded, work, limiter=self._threads)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self._places.statistics().tasks_waiting >= WAITING:
            raise _busy()
        borrower = object()
        try:
            with anyio.fail_after(self._wait_s):
                await self._places.acquire_on_behalf_of(borrower)
        except TimeoutError:
            raise _busy() from None
        try:
            yield
        finally:
            self._places.release_on_behalf_of(borrower)

    def _guarded(self, work: Callable[[], T]) -> T:
        # On the thread, whose work ends even if the client has left, so that every
        # probe of the circuit has an outcome.
        wait_s = self._circuit.admit()
        if wait_s:
            raise _store_away(wait_s)
        return call_admitted(self._circuit, work, Code.STORAGE_UNAVAILABLE)


def _busy() -> Problem:
    detail = "too many uploads are being looked at; the notification must come again"
    return Problem(503, detail, "busy", {"Retry-After": str(RETRY_AFTER_S)})


def _store_away(wait_s: float) -> Problem:
    detail = "the object store did not answer a moment ago"
    headers = {"Retry-After": str(ceil(wait_s))}
    return Problem(503, detail, Code.STORAGE_UNAVAILABLE, headers)
