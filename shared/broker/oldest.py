"""How long the oldest message of each queue has been waiting."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.broker.publisher import age_s
from shared.broker.transport import Transport

LOOK_S = 10.0
PATIENCE = 0.1
"""A message is looked at again when it has grown older by this part of its age.

With RabbitMQ each look counts as a delivery, of which a message has a limited number:
so rarely, a message that waits for a month is looked at some hundred times.
"""


@dataclass(frozen=True)
class _Look:
    """The age of a queue's oldest message when it was looked at; None where the message
    did not say.
    """

    at: datetime
    age_s: float | None

    def passed_s(self, now: datetime) -> float:
        return (now - self.at).total_seconds()

    def holds(self, now: datetime) -> bool:
        pause_s = max(LOOK_S, PATIENCE * (self.age_s or 0.0))
        return 0 <= self.passed_s(now) < pause_s


class OldestMessages:
    """Remembers what it saw. An age may be too high by a tenth for as long as that, as
    nobody says when the message is taken. Thread-safe.
    """

    def __init__(self) -> None:
        self._looks: dict[str, _Look] = {}
        self._lock = threading.Lock()

    def ages_s(
        self,
        transport: Transport,
        channel: Any,
        messages: Mapping[str, int],
        now: datetime,
    ) -> dict[str, float]:
        """Return the age of each queue's oldest message in seconds; 0 for an empty one.

        `messages`: how many are ready in each queue. A queue whose oldest message does
        not say when it was sent is left out. Raises `transport.errors`.
        """
        with self._lock:
            ages = {
                queue: self._age_s(transport, channel, queue, now) if ready else 0.0
                for queue, ready in messages.items()
            }
            for queue, ready in messages.items():
                if not ready:
                    self._looks.pop(queue, None)
        return {queue: age for queue, age in ages.items() if age is not None}

    def _age_s(
        self, transport: Transport, channel: Any, queue: str, now: datetime
    ) -> float | None:
        look = self._looks.get(queue)
        if look is None or not look.holds(now):
            headers = transport.head(channel, queue)
            if headers is None:
                return None
            look = _Look(now, age_s(headers, now))
            self._looks[queue] = look
        if look.age_s is None:
            return None
        return look.age_s + look.passed_s(now)
