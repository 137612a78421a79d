"""The waits between two attempts of a webhook, as a pure value."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from shared.runtime.settings import WebhookSettings

JITTER = 0.2
"""Each wait varies by this fraction, so that receivers which failed together are not
all called again at once.
"""


@dataclass(frozen=True)
class Schedule:
    """`waits_s[n - 1]` is the wait after attempt `n` failed [s]."""

    waits_s: tuple[float, ...]

    @classmethod
    def of(cls, settings: WebhookSettings) -> Schedule:
        waits = re.split(r"[ ,]+", settings.callback_retry_s)
        return cls(tuple(float(wait) for wait in waits))

    def delay_s(self, attempt: int, chance: float | None = None) -> float | None:
        """Return the wait after attempt `attempt` (1-based), None after the last one.

        `chance` in [0, 1) stands for the jitter's random draw.
        """
        if attempt > len(self.waits_s):
            return None
        draw = random.random() if chance is None else chance  # noqa: S311 - spreads load, guards nothing
        return self.waits_s[attempt - 1] * (1 - JITTER + 2 * JITTER * draw)
