"""Token buckets: a quota that refills evenly over a minute, for each of many subjects."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from handlers.http.auth.limit_store import Balance, LimitStore, Take
from shared.s3.clock import Clock

WINDOW_S = 60
MOST = 20_000
"""Subjects that this process remembers for one policy, some megabytes; the one longest
unseen is forgotten and begins anew.
"""


@dataclass(frozen=True)
class Level:
    """The state of a bucket after a request: `left` of the quota, full again in
    `full_s`; the request is refused when `wait_s` is not 0.
    """

    left: int
    full_s: int
    wait_s: int


@dataclass
class _Bucket:
    tokens: float
    at: float


class Buckets:
    """The buckets of one policy, counted in `store`; by this process alone without a
    store, and while it is away. Thread-safe.
    """

    def __init__(
        self,
        policy: str,
        quota: int,
        clock: Clock,
        store: LimitStore | None = None,
    ) -> None:
        self.policy = policy
        self.quota = quota
        self._clock = clock
        self._store = store
        self._rate = quota / WINDOW_S
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, subject: str, amount: int = 1) -> Level:
        """Take `amount`, or nothing at all where it is not there.

        What is larger than the quota is taken from a full bucket, which then owes the
        rest.
        """
        (balance,) = _balances(self._store, [(self, subject)], amount)
        return self.level(balance)

    def is_empty(self, subject: str) -> bool:
        """Whether `take` would refuse."""
        (balance,) = _balances(self._store, [(self, subject)], 0)
        return balance.tokens < 1

    def level(self, balance: Balance) -> Level:
        """The level that a response names."""
        missing_s = balance.missing / self._rate
        full_s = (self.quota - balance.tokens) / self._rate
        return Level(
            left=max(0, int(balance.tokens)),
            full_s=ceil(full_s),
            wait_s=ceil(missing_s),
        )

    def shared_take(self, subject: str, amount: int) -> Take:
        """What the store is to take."""
        return Take(f"{self.policy}:{subject}", self.quota, WINDOW_S, amount)

    def own_balance(
        self,
        subject: str,
        amount: int,
    ) -> Balance:
        """Take `amount` from the bucket of this process."""
        with self._lock:
            bucket = self._refilled(subject)
            missing = min(amount, self.quota) - bucket.tokens
            if missing > 0:
                return Balance(bucket.tokens, missing)
            bucket.tokens -= amount
            return Balance(bucket.tokens, 0)

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


def take_each(
    store: LimitStore | None, subjects: Sequence[tuple[Buckets, str]]
) -> list[Level]:
    """Take one from each bucket; in `store` by one round trip."""
    balances = _balances(store, subjects, 1)
    pairs = zip(subjects, balances, strict=True)
    return [buckets.level(balance) for (buckets, _), balance in pairs]


def _balances(
    store: LimitStore | None, subjects: Sequence[tuple[Buckets, str]], amount: int
) -> list[Balance]:
    """The balances after the takes, in `store` or, without it, in this process."""
    if store:
        takes = [buckets.shared_take(subject, amount) for buckets, subject in subjects]
        shared = store.take(takes)
        if shared:
            return shared
    return [buckets.own_balance(subject, amount) for buckets, subject in subjects]
