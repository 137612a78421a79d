"""Token buckets in a server of the Redis protocol, one count for all processes of the
API.

The library `limits` is not used: its strategies count windows, where these buckets
refill evenly, name the exact second of the next attempt, and let one photo larger than
the quota in, whose rest is owed.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from handlers.http.circuit import POLICY
from shared.errors import SettingsError
from shared.runtime.breaker import Breaker
from shared.runtime.settings import Settings
from shared.runtime.telemetry import logger

ANSWER_S = 0.25
"""A server that takes longer to answer counts as away."""
SCHEMES = ("redis", "rediss")
PREFIX = "darkroom:limits:"
TAKE = """
local quota, window_s, amount = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = tonumber(bucket[1]) or quota
local passed_s = math.max(0, now - (tonumber(bucket[2]) or now))
tokens = math.min(quota, tokens + passed_s * quota / window_s)
local missing = math.min(amount, quota) - tokens
if missing <= 0 then
    tokens = tokens - amount
end
local full_s = (quota - tokens) * window_s / quota
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(full_s * 1000) + 1000)
return {string.format('%.6f', tokens), string.format('%.6f', math.max(0, missing))}
"""


class Take(NamedTuple):
    """What is to be taken from a bucket: `amount`, of a quota that refills in
    `window_s`.
    """

    bucket: str
    quota: int
    window_s: int
    amount: int


class Balance(NamedTuple):
    """A bucket after a request: its tokens, and how many were missing. If any were,
    nothing was taken.
    """

    tokens: float
    missing: float


class LimitStore:
    """Thread-safe; it blocks for `ANSWER_S` at most. Raises `SettingsError`."""

    def __init__(self, url: str) -> None:
        # One attempt: the process counts for itself at once.
        options = {
            "socket_timeout": ANSWER_S,
            "socket_connect_timeout": ANSWER_S,
            "retry": Retry(NoBackoff(), 0),
        }
        try:
            self._redis = redis.Redis.from_url(url, **options)
        except ValueError as error:
            raise SettingsError(f"DARKROOM_LIMITS_URL: {error}") from error
        self._circuit = Breaker(POLICY)
        self._is_away = threading.Event()

    @classmethod
    def of(cls, settings: Settings) -> LimitStore | None:
        """The server that `DARKROOM_LIMITS_URL` names, or the broker if it speaks the
        Redis protocol; None otherwise.
        """
        url = settings.limits_url.get_secret_value()
        if url:
            return cls(url)
        broker_url = settings.broker_url.get_secret_value()
        if urlsplit(broker_url).scheme in SCHEMES:
            return cls(broker_url)
        return None

    def take(self, takes: Sequence[Take]) -> list[Balance] | None:
        """Take from each bucket its amount, or nothing where that is not there.

        One round trip for all of them, as every request of the API waits for it. None
        while the server is away: the process has to count for itself.
        """
        if self._circuit.admit():
            return None
        pipeline = self._redis.pipeline(transaction=False)
        for bucket, quota, window_s, amount in takes:
            pipeline.eval(TAKE, 1, f"{PREFIX}{bucket}", quota, window_s, amount)
        try:
            answers = pipeline.execute()
        except redis.RedisError as error:
            self._report_failure(error)
            return None
        self._report_answer()
        return [Balance(float(tokens), float(missing)) for tokens, missing in answers]

    def _report_failure(self, error: redis.RedisError) -> None:
        self._circuit.failed()
        if not self._is_away.is_set():
            self._is_away.set()
            name = type(error).__name__
            logger().warning("limits.store_lost", error=name)

    def _report_answer(self) -> None:
        self._circuit.answered()
        if self._is_away.is_set():
            self._is_away.clear()
            logger().info("limits.store_back")
