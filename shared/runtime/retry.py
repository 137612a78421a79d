"""When to try again: policies, which are pure values, and a loop over attempts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

LARGEST_EXPONENT = 1000
"""2.0 ** 1024 is an OverflowError."""


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential backoff with jitter: the wait after failed attempt n is between half
    and all of `base_s`·2ⁿ⁻¹, and at most `cap_s`.

    `max_attempts`: None means that there is always another attempt.
    """

    base_s: float
    cap_s: float
    max_attempts: int | None = None

    def is_last(self, attempt: int) -> bool:
        """Whether no attempt follows attempt number `attempt` (the first is 1)."""
        return self.max_attempts is not None and attempt >= self.max_attempts

    def wait_s(self, attempt: int, chance: float | None = None) -> float:
        """Seconds to wait after failed attempt number `attempt`, were it the last or
        not.

        `chance` in [0, 1) stands for the jitter's draw; None draws one.
        """
        exponent = min(attempt - 1, LARGEST_EXPONENT)
        longest_s = min(self.cap_s, self.base_s * 2.0**exponent)
        if chance is None:
            chance = random.random()  # noqa: S311 - spreads load, guards nothing
        return longest_s * (0.5 + chance / 2)

    def delay_s(self, attempt: int, chance: float | None = None) -> float | None:
        """Like `wait_s`, but None when no attempt follows."""
        if self.is_last(attempt):
            return None
        return self.wait_s(attempt, chance)


class Attempt(NamedTuple):
    """One attempt of `retrying`. `wait_s` follows if it fails and is not the last."""

    number: int
    wait_s: float
    is_last: bool


def retrying(
    policy: RetryPolicy, pause: Callable[[float], object]
) -> Iterator[Attempt]:
    """Yield the attempts that `policy` allows, with a pause after each.

    The caller leaves the loop when an attempt succeeds. `pause` waits that many
    seconds, like `Event.wait` or `time.sleep`; a true result ends the loop early. Thus
    a loop that ran out has failed, or was stopped.
    """
    for number in count(1):
        attempt = Attempt(number, policy.wait_s(number), policy.is_last(number))
        yield attempt
        if attempt.is_last or pause(attempt.wait_s):
            return
