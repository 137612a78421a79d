"""Token buckets: a quota that refills evenly over a minute, for each of many subjects."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from math import ceil

from shared.s3.clock import Clock

WINDOW_S = 60
MOST = 20_000
"""Subjects remembered by one policy, some megabytes; the one longest unseen is
forgotten and begins anew.
"""


@dataclass(frozen=True)
class Level:
    """The state of a bucket after a request: `left` of the quota, full again in
    `full_s`; the request is refused when `wait_s` is not 0.
    """

    left: int
    full_s: int
    wait_s: int
    is_first_refusal: bool = False
    """Within a window: the one that is worth a log line."""


@dataclass
class _Bucket:
    tokens: float
    at: float
    refusal_logged_at: float = float("-inf")


class Buckets:
    """In the memory of this process, and thread-safe."""

    def __init__(self, policy: str, quota: int, clock: Clock) -> None:
        self.policy = policy
        self.quota = quota
        self._clock = clock
        self._rate = quota / WINDOW_S
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, subject: str, amount: int = 1) -> Level:
        """Take `amount`, or nothing at all where it is not there.

        What is larger than the quota is taken from a full bucket, which then owes the
        rest.
        """
        with self._lock:
            bucket = self._refilled(subject)
            missing = min(amount, self.quota) - bucket.tokens
            if missing > 0:
                return self._refusal(bucket, ceil(missing / self._rate))
            bucket.tokens -= amount
            return self._level(bucket)

    def is_empty(self, subject: str) -> bool:
        """Whether `take` would refuse."""
        with self._lock:
            return self._refilled(subject).tokens < 1

    def _refilled(self, subject: str) -> _Bucket:
        now = self._clock.monotonic()
        bucket = self._buckets.get(subject)
        if bucket is None:
            return self._new(subject, now)
        self._buckets.move_to_end(subject)
        refilled = bucket.tokens + (now - bucket.at) * self._rate
        bucket.tokens = min(self.quota, refilled)
        bucket.at = now
        return bucket

    def _new(self, subject: str, now: float) -> _Bucket:
        bucket = _Bucket(self.quota, now)
        self._buckets[subject] = bucket
        if len(self._buckets) > MOST:
            self._buckets.popitem(last=False)
        return bucket

    def _refusal(self, bucket: _Bucket, wait_s: int) -> Level:
        is_first = bucket.at >= bucket.refusal_logged_at + WINDOW_S
        if is_first:
            bucket.refusal_logged_at = bucket.at
        return self._level(bucket, wait_s, is_first)

    def _level(
        self, bucket: _Bucket, wait_s: int = 0, is_first_refusal: bool = False
    ) -> Level:
        left = max(0, int(bucket.tokens))
        full_s = ceil((self.quota - bucket.tokens) / self._rate)
        return Level(left, full_s, wait_s, is_first_refusal)
