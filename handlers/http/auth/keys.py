"""API keys: documents in the bucket, cached for some seconds so that no request waits
for the store.

A cached document is used for `api_key_cache_s` at most: within that time a revocation
takes effect. Keys that do not exist are cached as well, apart from the others, so that
a flood of invented ids evicts no true key.
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
"""Keys cached, and as many that do not exist: a few megabytes."""
READS_AT_ONCE = 8


class KeyRing:
    """Used from the event loop alone."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._known = _Cache(ctx)
        self._unknown = _Cache(ctx)
        self._reads: dict[str, asyncio.Future[ApiKey | None]] = {}
        self._limiter = anyio.CapacityLimiter(READS_AT_ONCE)

    def remembers(self, key_id: str) -> bool:
        """Whether `find` can answer without the store."""
        return self._known.has(key_id) or self._unknown.has(key_id)

    async def find(self, key_id: str) -> ApiKey | None:
        """The key's document; None if there is none. Raises `StorageUnavailable`."""
        if self._known.has(key_id):
            return self._known.get(key_id)
        if self._unknown.has(key_id):
            return None
        # Requests for the same key share one read.
        read = self._reads.get(key_id)
        if read is None:
            read = self._start_read(key_id)
        return await asyncio.shield(read)

    def forget(self, key_id: str) -> None:
        """Read the key's document anew: this process changed it."""
        self._known.drop(key_id)
        self._unknown.drop(key_id)

    def _start_read(self, key_id: str) -> asyncio.Future[ApiKey | None]:
        read = asyncio.ensure_future(self._read_into_cache(key_id))
        self._reads[key_id] = read
        read.add_done_callback(lambda done: self._end_read(key_id, done))
        return read

    def _end_read(
        self,
        key_id: str,
        read: asyncio.Future[ApiKey | None],
    ) -> None:
        del self._reads[key_id]
        if not read.cancelled():
            # Retrieved here, since every request that waited for it may have gone.
            read.exception()

    async def _read_into_cache(self, key_id: str) -> ApiKey | None:
        clock = self._ctx.clock
        started_at = clock.monotonic()
        key = await run_sync(
            self._read,
            key_id,
            limiter=self._limiter,
        )
        cache = self._known if key else self._unknown
        cache.put(key_id, key, started_at)
        return key

    def _read(self, key_id: str) -> ApiKey | None:
        name = place(key_id)
        try:
            data = self._ctx.store.read(self._ctx.settings.bucket_access, name)
            return ApiKey.from_bytes(data, name)
        except NotFound:
            return None
        except PermanentError:  # it opens nothing until it is repaired
            logger().error("document.damaged", document=name, repaired=False)
            return None


class _Cache:
    """The last `MOST` documents, each until it is too old."""

    def __init__(self, ctx: Context) -> None:
        self._clock = ctx.clock
        self._good_s = ctx.settings.api_key_cache_s
        self._entries: OrderedDict[str, tuple[float, ApiKey | None]] = OrderedDict()

    def has(self, key_id: str) -> bool:
        entry = self._entries.get(key_id)
        if entry is None:
            return False
        good_until, _ = entry
        return self._clock.monotonic() < good_until

    def get(self, key_id: str) -> ApiKey | None:
        self._entries.move_to_end(key_id)
        _, key = self._entries[key_id]
        return key

    def drop(self, key_id: str) -> None:
        self._entries.pop(key_id, None)

    def put(
        self,
        key_id: str,
        key: ApiKey | None,
        read_at: float,
    ) -> None:
        self._entries[key_id] = (read_at + self._good_s, key)
        self._entries.move_to_end(key_id)
        while len(self._entries) > MOST:
            self._entries.popitem(last=False)
