"""When to try again: a pure value, so that the policy can be read, printed and tested
without waiting.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential backoff with full jitter above half: attempt n waits between half and
    all of base·2ⁿ⁻¹.
    """

    base_s: float
    cap_s: float
    max_attempts: int

    def delay_s(self, attempt: int, chance: float | None = None) -> float | None:
        """Wait after failed attempt `attempt` (1-based), or None when there is no
        further try.

        `chance` in [0, 1) stands for the jitter's draw; None draws one.
        """
        if attempt >= self.max_attempts:
            return None
        # 2.0 ** 1024 is an OverflowError
        ceiling = min(self.cap_s, self.base_s * 2.0 ** min(attempt - 1, 1000))
        draw = random.random() if chance is None else chance  # noqa: S311 - spreads load, guards nothing
        return ceiling * (0.5 + draw / 2)
