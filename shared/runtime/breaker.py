"""A circuit breaker: who finds a service away spares it, and himself, further calls
until one of them gets through.

Closed, everybody may call. Failures in a row open it: nobody calls for a while that
grows. Then it is half open: one call goes through as a probe; its outcome closes the
circuit or opens it for longer. Thread-safe, and waits for nobody.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from shared.runtime.retry import RetryPolicy

PROBE_S = 0.5
"""How soon to ask again while somebody else's probe is under way."""


class Breaker:
    """`failures` in a row open it, for as long as `policy` says of the first, second, …
    failed probe.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        failures: int = 1,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy, self._allowed, self._monotonic = policy, failures, monotonic
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._openings = 0
        self._until_s = 0.0
        self._probing = False

    def admit(self) -> float:
        """0: make the call, and say `failed` or `answered`. Otherwise seconds after
        which to ask here again.
        """
        with self._lock:
            if not self._openings:
                return 0.0
            if (wait_s := self._until_s - self._monotonic()) > 0:
                return wait_s
            if self._probing:
                return PROBE_S
            self._probing = True
            return 0.0

    def failed(self) -> float:
        """The service did not answer a call. Seconds for which it is left alone now."""
        with self._lock:
            self._in_a_row += 1
            # Calls that were under way when it opened say nothing new.
            if self._probing or (
                not self._openings and self._in_a_row >= self._allowed
            ):
                self._openings += 1
                self._until_s = self._monotonic() + (
                    self._policy.delay_s(self._openings) or self._policy.cap_s
                )
            self._probing = False
            return max(0.0, self._until_s - self._monotonic())

    def answered(self) -> bool:
        """The service answered, whatever it said. True: it had been away."""
        with self._lock:
            was_away = self._openings > 0
            self._in_a_row, self._openings, self._probing = 0, 0, False
            return was_away
