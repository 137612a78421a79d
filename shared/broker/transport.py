"""The port for brokers: what differs between them. Each adapter has a file of its own;
`transports` chooses one.
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
    """Opens connections, and does on them what differs between brokers.

    It is no more thread-safe than kombu itself.
    """

    leases_survive: ClassVar[bool]
    """Whether a delivery outlives the connection that took it."""

    def __init__(self, settings: BrokerSettings) -> None:
        self.settings = settings
        self.url = settings.broker_url.get_secret_value()
        self.attempt_s = 0.4 * settings.publish_timeout_s

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """The errors that a broken connection raises."""
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
        """Publish messages. Returns when the broker holds every one.

        Raises one of `errors` within `attempt_s`.
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
        """Hand over deliveries. Returns after the first ones, when `wake` is readable,
        or after `timeout_s`.
        """

    @abstractmethod
    def settle(self, channel: Any, tags: list[Any]) -> None:
        """Acknowledge these deliveries."""

    @abstractmethod
    def beat(self, channel: Any) -> float:
        """Keep the connection alive, and give back what other consumers let expire.

        Called each second. Returns when the broker last answered (monotonic). Raises
        one of `errors` if it is gone.
        """

    def renew(self, channel: Any) -> None:  # noqa: B027 - AMQP leases live as long as the connection
        """Extend the leases of the channel's unsettled deliveries.

        Called each third of a lease.
        """

    def adopt(self, channel: Any, tags: Iterable[Any]) -> None:
        """Hold deliveries of an earlier connection, where `leases_survive`."""
        raise NotImplementedError

    def give_back(self, channel: Any) -> None:  # noqa: B027 - AMQP gives back what a closed channel held
        """Return the channel's unsettled deliveries to the queue, at once."""

    def disarm(self, channel: Any) -> None:  # noqa: B027
        """Keep a channel whose connection is broken from acting when it is
        garbage-collected.
        """

    @abstractmethod
    def size(self, channel: Any, queue: str) -> int:
        """The number of ready messages; may be 0 for a queue that does not answer."""

    def count(self, channel: Any, queue: str) -> int:
        """The number of ready messages. Raises one of `errors` when the queue does not
        answer.
        """
        return self.size(channel, queue)

    def in_hand(self, channel: Any) -> int | None:  # noqa: ARG002
        """The number of unsettled messages of all consumers; None where the broker does
        not say.
        """
        return None

    def in_hand_of(self, channel: Any, queue: str) -> int:  # noqa: ARG002
        """The number of unsettled messages of one queue; 0 where the broker does not
        say.
        """
        return 0

    def head(self, channel: Any, queue: str) -> Mapping[str, Any] | None:  # noqa: ARG002
        """The headers of the oldest ready message, which stays where it is; None
        without one, and where the broker lets nobody look.
        """
        return None

    @abstractmethod
    def scan(
        self,
        channel: Any,
        queue: str,
        limit: int,
        take: Callable[[bytes, dict[str, Any]], bool],
    ) -> None:
        """Call `take(body, headers)` for the oldest `limit` messages, and remove those
        for which it is true.
        """


def send(producer: Producer, queue: str, message: Outgoing, **options: Any) -> None:
    """Publish to the default exchange.

    A named exchange is data of the broker, which may be lost while we are connected.
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
