"""How much of the door one user holds at once: threads and places at the database are
few, and everybody's.

A limit of requests a minute does not do that: some requests take seconds each. Who has
a full share waits for its own requests, for a moment, and is then told to come again;
others do not notice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

import anyio

from handlers.http.problems import RETRY_AFTER_S, Problem

AT_ONCE = 10
"""Requests of one user at the same time, of some forty threads."""
OF_THE_LOG = 2
"""Of these, such as ask the log for much at once: it has four places."""
WAIT_S = 5.0
LOG_PATHS = ("/v1/stats", "/v1/tasks")
STREAM = "/events"
"""Streams hold no thread while nothing happens, and have limits of their own."""


class Shares:
    """For one event loop."""

    def __init__(self) -> None:
        self._requests: WeakValueDictionary[str, anyio.CapacityLimiter] = (
            WeakValueDictionary()
        )
        self._of_the_log: WeakValueDictionary[str, anyio.CapacityLimiter] = (
            WeakValueDictionary()
        )

    @asynccontextmanager
    async def of(self, user_hash: str, path: str) -> AsyncIterator[None]:
        """Holds a part of the user's share. Raises `Problem` 503 where it stays full."""
        if path.endswith(STREAM):
            yield
            return
        limiters = [
            self._requests.setdefault(user_hash, anyio.CapacityLimiter(AT_ONCE))
        ]
        if path.rstrip("/") in LOG_PATHS:
            limiters.append(
                self._of_the_log.setdefault(
                    user_hash, anyio.CapacityLimiter(OF_THE_LOG)
                )
            )
        async with AsyncExitStack() as held:
            await _take(limiters, held)
            yield


async def _take(limiters: list[anyio.CapacityLimiter], held: AsyncExitStack) -> None:
    turn = object()  # a task may hold several places, each for another request
    try:
        with anyio.fail_after(WAIT_S):
            for limiter in limiters:
                await limiter.acquire_on_behalf_of(turn)
                held.callback(limiter.release_on_behalf_of, turn)
    except TimeoutError:
        detail = f"{AT_ONCE} requests of yours are being answered, or {OF_THE_LOG} that ask the log for much; ask again"
        raise Problem(
            503, detail, "busy", {"Retry-After": str(RETRY_AFTER_S)}
        ) from None
