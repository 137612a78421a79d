"""A broker in memory, as far as its publishers see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shared.errors import BrokerUnavailable


@dataclass(frozen=True)
class Sent:
    queue: str
    body: bytes
    headers: Mapping[str, str]


class MemoryPublisher:
    """`shared.broker.Publisher` into a list. Queues named in `refused` raise
    `BrokerUnavailable`.
    """

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.refused: set[str] = set()

    def publish(
        self, queue: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        if queue in self.refused:
            raise BrokerUnavailable("the broker did not confirm in time")
        self.sent.append(Sent(queue, body, dict(headers or {})))

    def publish_many(
        self,
        queue: str,
        bodies: Iterable[bytes],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        for body in bodies:
            self.publish(queue, body, headers)

    def bodies(self, queue: str) -> list[bytes]:
        return [sent.body for sent in self.sent if sent.queue == queue]
