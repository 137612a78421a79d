"""Limits the requests of one user at the same time, so that no user takes all threads
and all connections to the database.

A limit of requests a minute does not do that: some requests take seconds each. A user
whose share is full waits for its own requests for a moment, and is then refused with
503; others do not notice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

import anyio

from handlers.http.problems import RETRY_AFTER_S, Problem

AT_ONCE = 10
"""Requests of one user at the same time, of some forty threads."""
QUERIES_AT_ONCE = 2
"""Of these, requests that make a long query: the database has four connections."""
WAIT_S = 5.0
QUERY_PATHS = ("/v1/stats", "/v1/stats/summary", "/v1/tasks")
STREAM = "/events"
"""Streams hold no thread while nothing happens, and have limits of their own."""

Limiters = WeakValueDictionary[str, anyio.CapacityLimiter]


class Shares:
    """The shares of all users, for one event loop."""

    def __init__(self) -> None:
        self._requests: Limiters = WeakValueDictionary()
        self._queries: Limiters = WeakValueDictionary()

    @asynccontextmanager
    async def of(
        self,
        user_hash: str,
        path: str,
    ) -> AsyncIterator[None]:
        """Hold a place in the user's share. Raises `Problem` 503 while it stays full."""
        if path.endswith(STREAM):
            yield
            return
        limiters = [_limiter(self._requests, user_hash, AT_ONCE)]
        if path.rstrip("/") in QUERY_PATHS:
            limiters.append(_limiter(self._queries, user_hash, QUERIES_AT_ONCE))
        async with AsyncExitStack() as held:
            await _take(limiters, held)
            yield


def _limiter(
    limiters: Limiters,
    user_hash: str,
    most: int,
) -> anyio.CapacityLimiter:
    return limiters.setdefault(user_hash, anyio.CapacityLimiter(most))


async def _take(
    limiters: list[anyio.CapacityLimiter],
    held: AsyncExitStack,
) -> None:
    # An asyncio task may hold several places, each for another request.
    borrower = object()
    try:
        with anyio.fail_after(WAIT_S):
            for limiter in limiters:
                await limiter.acquire_on_behalf_of(borrower)
                held.callback(limiter.release_on_behalf_of, borrower)
    except TimeoutError:
        raise _busy() from None


def _busy() -> Problem:
    detail = f"{AT_ONCE} requests of yours are being answered, or {QUERIES_AT_ONCE} that query the log; try again"
    return Problem(503, detail, "busy", {"Retry-After": str(RETRY_AFTER_S)})
