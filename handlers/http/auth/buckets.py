"""Token buckets: so much at once, refilled evenly over a minute; the quota of one
policy for each of many subjects.
"""

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
    """After a request: `left` of the quota, full again in `full_s`; refused when
    `wait_s` is not 0.
    """

    left: int
    full_s: int
    wait_s: int
    first: bool = False
    """The first refusal within a window: what is worth a log line."""


@dataclass
class _Bucket:
    tokens: float
    at: float
    told_at: float = float("-inf")


class Buckets:
    """In the memory of this process, and thread-safe."""

    def __init__(self, policy: str, quota: int, clock: Clock) -> None:
        self.policy, self.quota = policy, quota
        self._clock, self._rate = clock, quota / WINDOW_S
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, subject: str, amount: int = 1) -> Level:
        """Take `amount`, or nothing at all where it is not there.

        What is larger than the quota is given out of a full bucket, which then owes the
        rest.
        """
        with self._lock:
            bucket = self._filled(subject)
            missing = min(amount, self.quota) - bucket.tokens
            if missing > 0:
                return self._level(
                    bucket, ceil(missing / self._rate), self._is_first(bucket)
                )
            bucket.tokens -= amount
            return self._level(bucket)

    def is_empty(self, subject: str) -> bool:
        """Would `take` refuse?"""
        with self._lock:
            return self._filled(subject).tokens < 1

    def _filled(self, subject: str) -> _Bucket:
        now = self._clock.monotonic()
        bucket = self._buckets.get(subject)
        if bucket is None:
            bucket = self._buckets[subject] = _Bucket(self.quota, now)
            if len(self._buckets) > MOST:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(subject)
            bucket.tokens = min(
                self.quota, bucket.tokens + (now - bucket.at) * self._rate
            )
            bucket.at = now
        return bucket

    def _is_first(self, bucket: _Bucket) -> bool:
        first = bucket.at >= bucket.told_at + WINDOW_S
        if first:
            bucket.told_at = bucket.at
        return first

    def _level(self, bucket: _Bucket, wait_s: int = 0, first: bool = False) -> Level:
        full_s = ceil((self.quota - bucket.tokens) / self._rate)
        return Level(max(0, int(bucket.tokens)), full_s, wait_s, first)
