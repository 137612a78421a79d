"""Dead letters: messages that could not be processed, each kept with its reason.

A dead letter lies in the `.dead` queue beside the queue it came from. Its reason stands
in the message's headers, beside those that the message had before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, Self

from shared.broker.topology import dead_queue

MAX_DETAIL = 1000
"""Characters of a reason that are kept: headers have limits."""

REASON = ("code", "detail", "queue", "at")
"""Headers of the reason."""


class Publisher(Protocol):
    """What publishes a dead letter."""

    def publish(self, queue: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Publish one message. Raises `BrokerUnavailable`."""


@dataclass(frozen=True)
class DeadLetter:
    """A message that came from `queue`, with its own headers, and why it is dead.

    `code` is an error code of ours, or the broker's own reason; `at` is a time in ISO
    8601, or empty.
    """

    queue: str
    body: bytes
    code: str
    detail: str
    at: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        queue: str,
        body: bytes,
        headers: Mapping[str, Any],
        code: str,
        detail: str,
        at: datetime,
    ) -> Self:
        """A letter for a message whose processing failed now."""
        own = _own_headers(headers)
        return cls(queue, body, str(code), detail[:MAX_DETAIL], at.isoformat(), own)

    @classmethod
    def read(cls, queue: str, body: bytes, headers: Mapping[str, Any]) -> Self:
        """The letter of a message that lies in the dead queue of `queue`."""
        # A message that exceeded RabbitMQ's delivery limit has RabbitMQ's reason.
        code = headers.get("code") or headers.get("x-first-death-reason") or "unknown"
        detail = str(headers.get("detail", ""))
        at = str(headers.get("at", ""))
        return cls(queue, body, str(code), detail, at, _own_headers(headers))

    @property
    def id(self) -> str:
        """An id derived from queue and body: equal messages share it."""
        digest = hashlib.sha256(self.queue.encode() + b"\0" + self.body)
        return digest.hexdigest()[:12]

    def publish(self, publisher: Publisher) -> None:
        """Put the letter into the dead queue. Raises `BrokerUnavailable`."""
        reason = {
            "code": self.code,
            "detail": self.detail,
            "queue": self.queue,
            "at": self.at,
        }
        queue = dead_queue(self.queue)
        publisher.publish(queue, self.body, {**self.headers, **reason})


def _own_headers(headers: Mapping[str, Any]) -> dict[str, str]:
    """The message's own headers, without a reason and without the broker's tables."""
    return {
        name: value
        for name, value in headers.items()
        if name not in REASON and isinstance(value, str)
    }
