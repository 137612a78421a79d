"""The port: what one broker needs that the others do not. One adapter a file;
`transports` chooses among them.
"""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from kombu.connection import Connection
from kombu.exceptions import OperationalError
from kombu.messaging import Producer

from shared.errors import BrokerUnavailable
from shared.runtime.settings import BrokerSettings

Outgoing = tuple[bytes, Mapping[str, str]]
"""Body and headers of a message to publish."""

HEARTBEAT_S = 10
"""A peer silent for two of these is gone."""


class Transport(ABC):
    """Opens connections and does on them what differs between brokers. Not thread-safe,
    like kombu itself.
    """

    leases_survive: ClassVar[bool]
    """Whether a delivery outlives the connection that took it."""

    def __init__(self, settings: BrokerSettings) -> None:
        self.settings = settings
        self.url = settings.broker_url.get_secret_value()
        self.attempt_s = 0.4 * settings.publish_timeout_s

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What a broken connection raises."""
        return (OperationalError, BrokerUnavailable, OSError, *self._errors())

    def open(self, *, consuming: bool) -> Connection:
        """A new, established connection; tried once per address."""
        connection = self._connection(consuming)
        connection.ensure_connection(
            max_retries=max(0, len(connection.alt) - 1), reraise_as_library_errors=False
        )
        return connection

    @abstractmethod
    def _connection(self, consuming: bool) -> Connection: ...

    @abstractmethod
    def _errors(self) -> tuple[type[Exception], ...]: ...

    def declare(self, channel: Any, queue: str) -> None:  # noqa: B027 - most brokers make a queue when it is used
        """Make sure that the queue exists."""

    @abstractmethod
    def publish(self, channel: Any, queue: str, messages: Sequence[Outgoing]) -> None:
        """Returns when the broker holds every message; raises one of `errors` within
        `attempt_s`.
        """

    def consume(self, channel: Any, queue: str, prefetch: int, callback: Any) -> None:
        """Start delivering at most `prefetch` unsettled messages of a declared queue to
        `callback(message)`.
        """
        channel.basic_qos(0, prefetch, False)
        channel.basic_consume(
            queue,
            no_ack=False,
            consumer_tag=queue,
            callback=lambda raw: callback(channel.message_to_python(raw)),
        )

    @abstractmethod
    def wait(
        self, connection: Connection, wake: socket.socket, timeout_s: float
    ) -> None:
        """Hand over deliveries; returns after the first ones, when `wake` is readable,
        or when time is up.
        """

    @abstractmethod
    def settle(self, channel: Any, tags: list[Any]) -> None:
        """Acknowledge these deliveries."""

    @abstractmethod
    def beat(self, channel: Any) -> float:
        """Called each second; restores what others let expire. The monotonic time when
        the broker was last heard.

        Raises one of `errors` if it is gone.
        """

    def renew(self, channel: Any) -> None:  # noqa: B027 - AMQP leases live as long as the connection
        """Extend the lease of everything in hand of this channel; called each third of
        a lease.
        """

    def adopt(self, channel: Any, tags: Iterable[Any]) -> None:
        """Hold deliveries of an earlier connection; only where `leases_survive`."""
        raise NotImplementedError

    def give_back(self, channel: Any) -> None:  # noqa: B027 - AMQP gives back what a closed channel held
        """Return everything in hand to the queue, at once."""

    def disarm(self, channel: Any) -> None:  # noqa: B027
        """The channel's connection is broken: keep it from doing anything when it is
        collected.
        """

    @abstractmethod
    def size(self, channel: Any, queue: str) -> int:
        """Ready messages; may be 0 for a queue that does not answer."""

    def count(self, channel: Any, queue: str) -> int:
        """Ready messages; raises one of `errors` when the queue does not answer."""
        return self.size(channel, queue)

    def in_hand(self, channel: Any) -> int | None:  # noqa: ARG002
        """Unsettled messages of all queues and consumers, where the broker tells."""
        return None

    def in_hand_of(self, channel: Any, queue: str) -> int:  # noqa: ARG002
        """Unsettled messages of one queue in hand of any consumer; 0 where the broker
        does not tell.
        """
        return 0

    @abstractmethod
    def scan(
        self,
        channel: Any,
        queue: str,
        limit: int,
        take: Callable[[bytes, dict[str, Any]], bool],
    ) -> None:
        """Show the oldest `limit` messages to `take(body, headers)`; those it answers
        with true are removed.
        """


def send(producer: Producer, queue: str, message: Outgoing, **options: Any) -> None:
    """Publish to the default exchange: a named one is data of the broker that can be
    lost while we are connected.
    """
    body, headers = message
    producer.publish(
        body,
        exchange="",
        routing_key=queue,
        headers=dict(headers),
        delivery_mode="persistent",
        content_type="application/json",
        content_encoding="utf-8",
        **options,
    )
