"""One message that a consumer holds and has to settle."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

ID_FIELDS = ("upload_id", "task_id")


@dataclass(frozen=True)
class Settlement:
    """How a delivery ends: acknowledged, or, with a `code`, as a dead letter."""

    code: str | None = None
    detail: str = ""


@dataclass(eq=False)
class Delivery:
    """A message and the right to settle it, once, from any thread.

    `settle` carries the settlement out. `redelivered` is a hint that another delivery
    of the same message was given back or lost its lease.
    """

    queue: str
    body: bytes
    headers: dict[str, Any]
    redelivered: bool
    settle: Callable[[Delivery, Settlement], None] = field(repr=False)
    _once: threading.Lock = field(
        default_factory=threading.Lock, init=False, repr=False
    )

    def ids(self) -> dict[str, str]:
        """The ids of upload and task that the body names, for log lines; nothing else of
        it, as anybody may have written it.
        """
        try:
            named = json.loads(self.body)
            found = {name: named[name] for name in ID_FIELDS if name in named}
            return {name: str(UUID(value)) for name, value in found.items()}
        except (ValueError, TypeError, AttributeError, RecursionError):
            return {}

    def ack(self) -> None:
        """Acknowledge: the work is done and its result is stored, the message may go.

        Returns at once; once settled, further calls change nothing.
        """
        self._settle(Settlement())

    def dead(self, code: str, detail: str) -> None:
        """Make the message a dead letter with this reason, then acknowledge it.

        Returns at once. The letter is published as soon as the broker takes it; if the
        lease is lost before, the message is delivered again.
        """
        self._settle(Settlement(code, detail))

    def _settle(self, settlement: Settlement) -> None:
        # The lock is never released: the first settlement holds.
        if self._once.acquire(blocking=False):
            self.settle(self, settlement)
