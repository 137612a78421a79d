"""API keys at the door: documents from the bucket, remembered for a few seconds so that
no request waits for it.

What is remembered is old for `api_key_cache_s` at most: within that time a revocation
acts. Keys that do not exist are remembered, too, apart from the others, so that a flood
of invented ids pushes no true key out.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

import anyio
from anyio.to_thread import run_sync

from handlers.context import Context
from shared.access import ApiKey, place
from shared.errors import NotFound, PermanentError
from shared.runtime.telemetry import logger

MOST = 10_000
"""Keys remembered, and as many that do not exist: a few megabytes."""
READS_AT_ONCE = 8


class KeyRing:
    """Used from the event loop alone."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._known = _Memory(ctx)
        self._unknown = _Memory(ctx)
        self._asked: dict[str, asyncio.Future[ApiKey | None]] = {}
        self._limiter = anyio.CapacityLimiter(READS_AT_ONCE)

    def remembers(self, key_id: str) -> bool:
        """Can it be said without the store whether there is such a key?"""
        return self._known.has(key_id) or self._unknown.has(key_id)

    async def find(self, key_id: str) -> ApiKey | None:
        """The key's document. Raises `StorageUnavailable`."""
        for memory in (self._known, self._unknown):
            if memory.has(key_id):
                return memory.get(key_id)
        asked = self._asked.get(key_id)
        if asked is None:  # however many ask, one reads
            asked = self._asked[key_id] = asyncio.ensure_future(self._look_up(key_id))
            asked.add_done_callback(lambda done: self._answered(key_id, done))
        return await asyncio.shield(asked)

    def _answered(self, key_id: str, done: asyncio.Future[ApiKey | None]) -> None:
        del self._asked[key_id]
        if not done.cancelled():
            done.exception()  # seen, though all who waited for it may be gone

    async def _look_up(self, key_id: str) -> ApiKey | None:
        asked_at = self._ctx.clock.monotonic()
        found = await run_sync(self._read, key_id, limiter=self._limiter)
        (self._known if found else self._unknown).put(key_id, found, asked_at)
        return found

    def _read(self, key_id: str) -> ApiKey | None:
        name = place(key_id)
        try:
            return ApiKey.from_bytes(
                self._ctx.store.read(self._ctx.settings.bucket_access, name), name
            )
        except NotFound:
            return None
        except PermanentError:  # it opens nothing until somebody repairs it
            logger().error("document.damaged", document=name, repaired=False)
            return None


class _Memory:
    """The last `MOST` answers, each until it is too old."""

    def __init__(self, ctx: Context) -> None:
        self._clock, self._good_s = ctx.clock, ctx.settings.api_key_cache_s
        self._answers: OrderedDict[str, tuple[float, ApiKey | None]] = OrderedDict()

    def has(self, key_id: str) -> bool:
        kept = self._answers.get(key_id)
        return kept is not None and self._clock.monotonic() < kept[0]

    def get(self, key_id: str) -> ApiKey | None:
        self._answers.move_to_end(key_id)
        return self._answers[key_id][1]

    def put(self, key_id: str, found: ApiKey | None, asked_at: float) -> None:
        self._answers[key_id] = (asked_at + self._good_s, found)
        self._answers.move_to_end(key_id)
        while len(self._answers) > MOST:
            self._answers.popitem(last=False)
