"""Limits of what one user, and one address, may ask for in a minute, at all processes of
the API together where these share a store of limits.

Responses carry `RateLimit-Policy` and `RateLimit` (the IETF's draft), refusals are 429
with `Retry-After`. The operator is not limited.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
from anyio.to_thread import run_sync
from starlette.types import Scope

from handlers.http.auth.address import network
from handlers.http.auth.buckets import WINDOW_S, Buckets, Level, take_each
from handlers.http.auth.limit_store import LimitStore
from handlers.http.auth.principal import Principal
from handlers.http.auth.queued_photos import RETRY_S, Count, QueuedPhotos
from handlers.http.problems import Problem
from shared.runtime.settings import RateLimitSettings
from shared.runtime.telemetry import logger
from shared.s3.clock import Clock
from shared.uploads import identity

Headers = list[tuple[bytes, bytes]]
RecordFailure = Callable[[Scope, str], Awaitable[None]]
"""Counts a wrong key of the sender of this request, with the reason; raises `Problem`
429 once there were too many.
"""
T = TypeVar("T")

THREADS = 8
"""Threads that may wait for the store of limits."""
BYTES = "bytes"
PIXELS = "preview-pixels"


class Limits:
    """Thread-safe; methods may block for a moment, on the store of limits.

    A refusal raises `Problem` 429; the first one in a minute is logged.
    """

    def __init__(
        self,
        settings: RateLimitSettings,
        clock: Clock,
        count: Count,
        store: LimitStore | None = None,
    ) -> None:
        def buckets(policy: str, quota: int) -> Buckets:
            return Buckets(policy, quota, clock, store)

        self._store = store
        self._threads = anyio.CapacityLimiter(THREADS)
        self._user = buckets("user", settings.limit_requests_per_min)
        self._address = buckets("address", settings.limit_address_requests_per_min)
        self._bytes = buckets(BYTES, settings.limit_bytes_per_min)
        self._pixels = buckets(PIXELS, settings.limit_preview_pixels_per_min)
        self._failures = buckets("failures", settings.limit_failures_per_min)
        self._queued = QueuedPhotos(count, settings.limit_queued_photos, clock)
        self._log_lines = Buckets("log", 1, clock)

    async def run(self, check: Callable[..., T], *arguments: object) -> T:
        """`check(*arguments)`, on a thread if it may block."""
        if self._store is None:
            return check(*arguments)
        return await run_sync(check, *arguments, limiter=self._threads)

    def admit(
        self,
        principal: Principal,
        address: str,
    ) -> Headers:
        """Count one request; the headers of its response."""
        if principal.operator:
            return []
        subject = _subject(principal, address)
        subjects = [(self._address, address), (self._user, subject)]
        taken = take_each(self._store, subjects)
        levels = list(zip((self._address, self._user), taken, strict=True))
        for buckets, level in levels:
            if level.wait_s:
                raise self._refusal(buckets, level, principal, address)
        headers = _headers(levels)
        return [(name.lower().encode(), headers[name].encode()) for name in headers]

    def count_upload(
        self,
        principal: Principal,
        address: str,
        size_bytes: int,
    ) -> None:
        """Count one photo that is about to be uploaded."""
        if principal.operator:
            return
        subject = _subject(principal, address)
        if not self._queued.admits(subject):
            self._log_refusal("photos", principal, address)
            raise self._too_many_photos()
        level = self._bytes.take(subject, size_bytes)
        if level.wait_s:
            raise self._refusal(self._bytes, level, principal, address)

    def count_preview(
        self,
        principal: Principal,
        address: str,
        pixels: int,
    ) -> None:
        """Count one preview of so many pixels."""
        if principal.operator:
            return
        subject = _subject(principal, address)
        level = self._pixels.take(subject, pixels)
        if level.wait_s:
            raise self._refusal(self._pixels, level, principal, address)

    def record_failure(
        self,
        address: str,
        reason: str,
    ) -> None:
        """Count a key or token that opened nothing."""
        level = self._failures.take(address)
        if not level.wait_s:
            return
        if self._is_first("failures", address):
            logger().warning("access.refused", reason=reason, network=network(address))
        raise _too_many(self._failures, level)

    def may_guess(self, address: str) -> bool:
        """Whether the store is asked about a key from this address that is not cached."""
        return not self._failures.is_empty(address)

    def _refusal(
        self,
        buckets: Buckets,
        level: Level,
        principal: Principal,
        address: str,
    ) -> Problem:
        self._log_refusal(buckets.policy, principal, address)
        return _too_many(buckets, level)

    def _log_refusal(
        self,
        policy: str,
        principal: Principal,
        address: str,
    ) -> None:
        if self._is_first(policy, _subject(principal, address)):
            logger().warning(
                "access.limited",
                policy=policy,
                key_id=principal.key_id,
                network=network(address),
            )

    def _is_first(self, policy: str, subject: str) -> bool:
        """Whether this is the first refusal in a minute, which is worth a log line."""
        level = self._log_lines.take(f"{policy} {subject}")
        return level.wait_s == 0

    def _too_many_photos(self) -> Problem:
        detail = f"{self._queued.quota} photos of yours wait already; send more when some are done"
        headers = {"Retry-After": str(RETRY_S)}
        return Problem(429, detail, "too_many_photos", headers)


def _subject(principal: Principal, address: str) -> str:
    """Whose quota it is. Anonymous users are distinguished by their address."""
    if principal.key_id == identity.ANONYMOUS:
        return f"{principal.user_hash} {address}"
    return principal.user_hash


def _too_many(buckets: Buckets, level: Level) -> Problem:
    detail = f"more than {buckets.quota:,} a minute ({buckets.policy}); try again in {level.wait_s} s"
    if buckets.policy == BYTES:
        detail += "; an upload without a size counts as the largest"
    headers = {"Retry-After": str(level.wait_s), **_headers([(buckets, level)])}
    return Problem(429, detail, "too_many_requests", headers)


def _headers(levels: list[tuple[Buckets, Level]]) -> dict[str, str]:
    policies = [
        f'"{buckets.policy}";q={buckets.quota};w={WINDOW_S}' for buckets, _ in levels
    ]
    states = [
        f'"{buckets.policy}";r={level.left};t={level.full_s}'
        for buckets, level in levels
    ]
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)}
