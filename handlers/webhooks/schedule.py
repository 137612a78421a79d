"""When a callback is tried again: a pure value."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from shared.runtime.settings import Settings

JITTER = 0.2
"""Receivers that were away together are not called together."""


@dataclass(frozen=True)
class Schedule:
    """`waits_s[n - 1]` is the wait after try `n` failed."""

    waits_s: tuple[float, ...]

    @classmethod
    def of(cls, settings: Settings) -> Schedule:
        return cls(
            tuple(float(wait) for wait in re.split(r"[ ,]+", settings.callback_retry_s))
        )

    def delay_s(self, attempt: int, chance: float | None = None) -> float | None:
        """Wait after try `attempt` (1-based), or None when it was the last. `chance` in
        [0, 1): the jitter's draw.
        """
        if attempt > len(self.waits_s):
            return None
        draw = random.random() if chance is None else chance  # noqa: S311 - spreads load, guards nothing
        return self.waits_s[attempt - 1] * (1 - JITTER + 2 * JITTER * draw)
