"""How much one user, and one address, may ask for. Counted in this process: two doors
give twice as much.

Answers carry `RateLimit-Policy` and `RateLimit` (the IETF's draft), refusals are 429
with `Retry-After`. The operator is not limited.
"""

from __future__ import annotations

from handlers.http.auth.address import network
from handlers.http.auth.buckets import WINDOW_S, Buckets, Level
from handlers.http.auth.principal import Caller
from handlers.http.auth.waiting import RETRY_S, Count, Waiting
from handlers.http.problems import Problem
from shared.runtime.settings import Settings
from shared.runtime.telemetry import logger
from shared.s3.clock import Clock
from shared.uploads import identity

Headers = list[tuple[bytes, bytes]]
BYTES = "bytes"
PIXELS = "preview-pixels"


class Limits:
    """Thread-safe. What is refused raises `Problem` 429; the first refusal in a minute
    is logged.
    """

    def __init__(self, settings: Settings, clock: Clock, count: Count) -> None:
        self._user = Buckets("user", settings.limit_requests_per_min, clock)
        self._address = Buckets(
            "address", settings.limit_address_requests_per_min, clock
        )
        self._bytes = Buckets(BYTES, settings.limit_bytes_per_min, clock)
        self._failures = Buckets("failures", settings.limit_failures_per_min, clock)
        self._waiting = Waiting(count, settings.limit_queued_photos, clock)
        self._pixels = Buckets(PIXELS, settings.limit_preview_pixels_per_min, clock)
        self._told = Buckets("photos", 1, clock)

    def admit(self, caller: Caller, address: str) -> Headers:
        """Count one request; the headers of its answer."""
        if caller.operator:
            return []
        levels = [
            (self._address, self._address.take(address)),
            (self._user, self._user.take(_subject(caller, address))),
        ]
        for buckets, level in levels:
            if level.wait_s:
                self._refuse(buckets, level, caller, address)
        return [
            (name.lower().encode(), value.encode())
            for name, value in _headers(levels).items()
        ]

    def announce(self, caller: Caller, address: str, size_bytes: int) -> None:
        """Count one photo that is about to be uploaded."""
        if caller.operator:
            return
        subject = _subject(caller, address)
        if not self._waiting.admits(subject):
            first = not self._told.take(subject).wait_s
            detail = f"{self._waiting.quota} photos of yours wait already; send more when some are done"
            self._limited("photos", caller.key_id, address, first)
            raise Problem(429, detail, "too_many_photos", {"Retry-After": str(RETRY_S)})
        level = self._bytes.take(subject, size_bytes)
        if level.wait_s:
            self._refuse(self._bytes, level, caller, address)

    def look_ahead(self, caller: Caller, address: str, pixels: int) -> None:
        """Count one preview of so many pixels."""
        if caller.operator:
            return
        level = self._pixels.take(_subject(caller, address), pixels)
        if level.wait_s:
            self._refuse(self._pixels, level, caller, address)

    def failed(self, address: str, reason: str) -> None:
        """Count a key or token that opened nothing; refuses the address once there were
        too many.
        """
        level = self._failures.take(address)
        if level.wait_s:
            if level.first:
                logger().warning(
                    "access.refused", reason=reason, network=network(address)
                )
            raise _too_many(self._failures, level)

    def may_guess(self, address: str) -> bool:
        """May this address ask the store about keys that nobody used lately?"""
        return not self._failures.is_empty(address)

    def _refuse(
        self, buckets: Buckets, level: Level, caller: Caller, address: str
    ) -> None:
        self._limited(buckets.policy, caller.key_id, address, level.first)
        raise _too_many(buckets, level)

    def _limited(self, policy: str, key_id: str, address: str, first: bool) -> None:
        if first:
            logger().warning(
                "access.limited", policy=policy, key_id=key_id, network=network(address)
            )


def _subject(caller: Caller, address: str) -> str:
    """Whose quota it is: what has no name is told apart by its address."""
    return (
        f"{caller.user_hash} {address}"
        if caller.key_id == identity.ANONYMOUS
        else caller.user_hash
    )


def _too_many(buckets: Buckets, level: Level) -> Problem:
    detail = f"more than {buckets.quota:,} a minute ({buckets.policy}); try again in {level.wait_s} s"
    if buckets.policy == BYTES:
        detail += "; an upload whose size is not told counts as the largest"
    headers = {"Retry-After": str(level.wait_s), **_headers([(buckets, level)])}
    return Problem(429, detail, "too_many_requests", headers)


def _headers(levels: list[tuple[Buckets, Level]]) -> dict[str, str]:
    return {
        "RateLimit-Policy": ", ".join(
            f'"{buckets.policy}";q={buckets.quota};w={WINDOW_S}'
            for buckets, _ in levels
        ),
        "RateLimit": ", ".join(
            f'"{buckets.policy}";r={level.left};t={level.full_s}'
            for buckets, level in levels
        ),
    }
