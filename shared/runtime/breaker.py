"""A circuit breaker: after repeated failures callers fail fast, until a probe call
succeeds.

Closed, every call is admitted. Failures in a row open it: no call is admitted for a
while, which grows with each opening. Then it is half open: one call goes through as a
probe; its outcome closes the circuit or opens it for longer. Thread-safe; it never
blocks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from shared.runtime.retry import RetryPolicy

PROBE_S = 0.5
"""Seconds after which to ask again while another thread's probe is under way."""


class Breaker:
    """The circuit of one service. `failures` in a row open it.

    `policy` says for how long, by the number of openings in a row.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        failures: int = 1,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._allowed = failures
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._openings = 0
        self._until_s = 0.0
        self._probing = False

    def admit(self) -> float:
        """0 when the call may be made; its outcome must then be reported by `failed` or
        `answered`. Otherwise seconds after which to ask again.
        """
        with self._lock:
            if not self._openings:
                return 0.0
            wait_s = self._until_s - self._monotonic()
            if wait_s > 0:
                return wait_s
            if self._probing:
                return PROBE_S
            self._probing = True
            return 0.0

    def failed(self) -> float:
        """Report a call to which the service did not answer.

        Returns the seconds for which no call is admitted now.
        """
        with self._lock:
            self._in_a_row += 1
            # Calls that were under way when it opened say nothing new.
            too_many = not self._openings and self._in_a_row >= self._allowed
            if self._probing or too_many:
                self._openings += 1
                wait_s = self._policy.wait_s(self._openings)
                self._until_s = self._monotonic() + wait_s
            self._probing = False
            return max(0.0, self._until_s - self._monotonic())

    def answered(self) -> bool:
        """Report an answer of the service, whatever it said. True: it had been away."""
        with self._lock:
            was_away = self._openings > 0
            self._in_a_row = 0
            self._openings = 0
            self._probing = False
            return was_away
