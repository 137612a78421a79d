"""One message in hand."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Ruling:
    """How a delivery ends: done, or set aside with a reason."""

    code: str | None = None
    detail: str = ""


@dataclass(eq=False)
class Delivery:
    """A message and the right to settle it, once, from any thread; `settle` carries the
    ruling out.

    `redelivered` is a hint: another delivery of the same message was given back or lost
    its lease.
    """

    queue: str
    body: bytes
    headers: dict[str, Any]
    redelivered: bool
    settle: Callable[[Delivery, Ruling], None] = field(repr=False)
    _once: threading.Lock = field(
        default_factory=threading.Lock, init=False, repr=False
    )

    def ack(self) -> None:
        """The work is done and written down: the message may go. Returns at once; later
        calls change nothing.
        """
        self._rule(Ruling())

    def dead(self, code: str, detail: str) -> None:
        """Nobody can use this message: put its bytes into the `.dead` queue with the
        reason, then let it go.

        Returns at once; tried until it succeeds or the lease is lost, in which case the
        message comes again.
        """
        self._rule(Ruling(code, detail))

    def _rule(self, ruling: Ruling) -> None:
        if self._once.acquire(blocking=False):  # never released: the first ruling holds
            self.settle(self, ruling)
