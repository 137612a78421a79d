"""Limits of what one user, and one address, may ask for in a minute.

Responses carry `RateLimit-Policy` and `RateLimit` (the IETF's draft), refusals are 429
with `Retry-After`. The operator is not limited.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import Scope

from handlers.http.auth.address import network
from handlers.http.auth.buckets import WINDOW_S, Buckets, Level
from handlers.http.auth.principal import Principal
from handlers.http.auth.queued_photos import RETRY_S, Count, QueuedPhotos
from handlers.http.problems import Problem
from shared.runtime.settings import Settings
from shared.runtime.telemetry import logger
from shared.s3.clock import Clock
from shared.uploads import identity

Headers = list[tuple[bytes, bytes]]
RecordFailure = Callable[[Scope, str], None]
"""Counts a wrong key of the sender of this request, with the reason; raises `Problem`
429 once there were too many.
"""
BYTES = "bytes"
PIXELS = "preview-pixels"


class Limits:
    """Thread-safe. A refusal raises `Problem` 429; the first one in a minute is logged."""

    def __init__(self, settings: Settings, clock: Clock, count: Count) -> None:
        def buckets(policy: str, quota: int) -> Buckets:
            return Buckets(policy, quota, clock)

        self._user = buckets("user", settings.limit_requests_per_min)
        self._address = buckets("address", settings.limit_address_requests_per_min)
        self._bytes = buckets(BYTES, settings.limit_bytes_per_min)
        self._pixels = buckets(PIXELS, settings.limit_preview_pixels_per_min)
        self._failures = buckets("failures", settings.limit_failures_per_min)
        self._queued = QueuedPhotos(count, settings.limit_queued_photos, clock)
        self._queued_refusals = buckets("photos", 1)

    def admit(self, principal: Principal, address: str) -> Headers:
        """Count one request; the headers of its response."""
        if principal.operator:
            return []
        levels = [
            (self._address, self._address.take(address)),
            (self._user, self._user.take(_subject(principal, address))),
        ]
        for buckets, level in levels:
            if level.wait_s:
                raise self._refusal(buckets, level, principal, address)
        headers = _headers(levels)
        return [(name.lower().encode(), headers[name].encode()) for name in headers]

    def count_upload(self, principal: Principal, address: str, size_bytes: int) -> None:
        """Count one photo that is about to be uploaded."""
        if principal.operator:
            return
        subject = _subject(principal, address)
        if not self._queued.admits(subject):
            is_first = not self._queued_refusals.take(subject).wait_s
            self._log_refusal("photos", principal, address, is_first)
            raise self._too_many_photos()
        level = self._bytes.take(subject, size_bytes)
        if level.wait_s:
            raise self._refusal(self._bytes, level, principal, address)

    def count_preview(self, principal: Principal, address: str, pixels: int) -> None:
        """Count one preview of so many pixels."""
        if principal.operator:
            return
        level = self._pixels.take(_subject(principal, address), pixels)
        if level.wait_s:
            raise self._refusal(self._pixels, level, principal, address)

    def record_failure(self, address: str, reason: str) -> None:
        """Count a key or token that opened nothing."""
        level = self._failures.take(address)
        if not level.wait_s:
            return
        if level.is_first_refusal:
            logger().warning("access.refused", reason=reason, network=network(address))
        raise _too_many(self._failures, level)

    def may_guess(self, address: str) -> bool:
        """Whether the store is asked about a key from this address that is not cached."""
        return not self._failures.is_empty(address)

    def _refusal(
        self, buckets: Buckets, level: Level, principal: Principal, address: str
    ) -> Problem:
        self._log_refusal(buckets.policy, principal, address, level.is_first_refusal)
        return _too_many(buckets, level)

    def _log_refusal(
        self, policy: str, principal: Principal, address: str, is_first: bool
    ) -> None:
        if is_first:
            logger().warning(
                "access.limited",
                policy=policy,
                key_id=principal.key_id,
                network=network(address),
            )

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
