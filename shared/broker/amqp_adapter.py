"""RabbitMQ. A delivery is held as long as the connection; the server's
`consumer_timeout` (30 min unless set) ends it.

Publishing counts the confirmations itself: py-amqp waits for *any* confirmation, so a
late one would stand for the next message, and one by one it cannot cover a batch.
"""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic, sleep
from typing import Any

import amqp
from kombu.connection import Connection
from kombu.messaging import Producer
from kombu.transport import pyamqp

from shared.broker import topology
from shared.broker.transport import HEARTBEAT_S, Outgoing, Transport, send
from shared.errors import BrokerUnavailable

DELIVERY_LIMIT = 500
"""Deliveries after which RabbitMQ makes a message a dead letter. A backstop: Darkroom
counts attempts itself, and allows few.
"""

BURST = 100
"""Most frames handled before settlements get their turn."""

REFUSED_PAUSE_S = 0.02
"""Before a refused message is sent again; doubled each time."""


class AmqpTransport(Transport):
    leases_survive = False

    def _connection(self, consuming: bool) -> Connection:
        # Without a server's name the one in the URL is verified.
        verified = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None}
        secure = self.url.startswith("amqps:")
        # Shorter than the pause between two heartbeats, each of which would restart the
        # timeout.
        timeout_s = 0.4 * HEARTBEAT_S if consuming else self.attempt_s
        return Connection(
            self.url,
            transport=_SecureTransport if secure else _PlainTransport,
            ssl=verified if secure else False,
            # A publisher has no thread that could send heartbeats; it notices a dead
            # peer by the missing confirmation.
            heartbeat=HEARTBEAT_S if consuming else 0,
            connect_timeout=timeout_s,
            transport_options={"read_timeout": timeout_s, "write_timeout": timeout_s},
        )

    def _errors(self) -> tuple[type[Exception], ...]:
        return (amqp.AMQPError,)

    def declare(self, channel: Any, queue: str) -> None:
        """Declare a quorum queue together with its dead queue, which it names."""
        # Operators list and retry dead letters, which must not count as failed
        # deliveries.
        arguments = {"x-queue-type": "quorum", "x-delivery-limit": 2**31 - 1}
        if not queue.endswith(topology.dead_queue("")):
            self.declare(channel, topology.dead_queue(queue))
            arguments |= {
                "x-delivery-limit": DELIVERY_LIMIT,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": topology.dead_queue(queue),
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            }
        channel.queue_declare(
            queue, durable=True, auto_delete=False, arguments=arguments
        )

    def publish(self, channel: Any, queue: str, messages: Sequence[Outgoing]) -> None:
        channel.put_many(queue, messages, self.attempt_s)

    def wait(
        self, connection: Connection, wake: socket.socket, timeout_s: float
    ) -> None:
        link = connection.connection
        poller = select.poll()
        poller.register(wake, select.POLLIN)
        poller.register(link.sock, select.POLLIN)
        for _ in range(BURST):
            ready = {fd for fd, _ in poller.poll(timeout_s * 1000)}
            if link.sock.fileno() not in ready and not _decrypted(link.sock):
                return
            # On a timeout half a frame is kept, and the rest comes later.
            with suppress(TimeoutError):
                link.drain_events(timeout=1)
            timeout_s = 0

    def settle(self, channel: Any, tags: list[Any]) -> None:
        channel.ack_many(tags)

    def beat(self, channel: Any) -> float:
        link = channel.connection
        link.heartbeat_tick()
        # A server may have disabled heartbeats.
        return float(link.last_heartbeat_received) or monotonic()

    def size(self, channel: Any, queue: str) -> int:
        self.declare(channel, queue)
        return int(channel.queue_declare(queue, passive=True).message_count)

    def count(self, channel: Any, queue: str) -> int:
        """The number of ready messages.

        Raises where the queue has no leader, as for a moment after the broker's start:
        RabbitMQ then reports a size of 0.
        """
        ready = self.size(channel, queue)
        if ready:
            return ready
        # A message that came meanwhile returns to its place when this channel closes.
        with channel.connection.channel() as own:
            message = own.basic_get(queue)
        if message is None:
            return 0
        behind = int(message.delivery_info["message_count"])
        return behind + 1

    def head(self, channel: Any, queue: str) -> Mapping[str, Any] | None:
        # It returns to its place when this channel closes, and counts as delivered.
        with channel.connection.channel() as own:
            message = own.basic_get(queue)
        if message is None:
            return None
        return message.properties.get("application_headers") or {}

    def scan(
        self,
        channel: Any,
        queue: str,
        limit: int,
        take: Callable[[bytes, dict[str, Any]], bool],
    ) -> None:
        # On a channel of its own: what is not taken returns to its place when it
        # closes.
        with channel.connection.channel() as own:
            self.declare(own, queue)
            for _ in range(limit):
                message = own.basic_get(queue)
                if message is None:
                    return
                headers = message.properties.get("application_headers") or {}
                if take(message.body, headers):
                    own.basic_ack(message.delivery_tag)


def _decrypted(sock: Any) -> bool:
    """Whether TLS has read bytes already, which `poll` does not show."""
    return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0


class _Channel(pyamqp.Channel):
    """A channel that knows which of its publishes are not confirmed yet, and which of
    its deliveries are settled.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Bodies are bytes, whatever encoding they claim.
        self.auto_decode = False
        self._published = 0
        self._open: dict[int, Outgoing] = {}
        self._refused: list[Outgoing] = []
        self._no_queue = ""
        self._settled_to = 0
        """Every tag up to this one is settled."""
        self._settled: set[int] = set()
        """Further settled tags."""

    def ack_many(self, tags: Sequence[int]) -> None:
        """Acknowledge; in one step all up to the first that is not settled.

        A channel works on 32 steps of a quorum queue at a time. Steps that wait are lost
        when the channel closes, and their messages are delivered again (measured: 27 of
        60 that were acknowledged one by one before a stop).
        """
        self._settled.update(tags)
        while self._settled_to + 1 in self._settled:
            self._settled_to += 1
            self._settled.remove(self._settled_to)
        if any(tag <= self._settled_to for tag in tags):
            last = max(tag for tag in tags if tag <= self._settled_to)
            self.basic_ack(last, multiple=True)
        for tag in tags:
            if tag > self._settled_to:
                self.basic_ack(tag)

    def put_many(
        self, queue: str, messages: Sequence[Outgoing], timeout_s: float
    ) -> None:
        """Publish messages. Returns when all are confirmed.

        After an error the channel must be dropped, as confirmations may be outstanding.
        A refused message is sent again until the time is up: a quorum queue that another
        client declares just now has its name before it has a leader, and refuses until
        then (RabbitMQ issue 15333).
        """
        if not self._published:
            self.confirm_select()
            self.events["basic_ack"].add(self._on_confirmed)
            self.events["basic_nack"].add(self._on_refused)
            self.events["basic_return"].add(self._on_returned)
        deadline = monotonic() + timeout_s
        pause_s = REFUSED_PAUSE_S
        while messages := self._put(queue, messages, deadline):
            if monotonic() + pause_s >= deadline:
                raise BrokerUnavailable(f"{queue}: the broker refused the message")
            sleep(pause_s)
            pause_s *= 2

    def _put(
        self, queue: str, messages: Sequence[Outgoing], deadline: float
    ) -> list[Outgoing]:
        """Publish all; returns those that the broker refused."""
        self._refused = []
        producer = Producer(self)
        for message in messages:
            self._published += 1
            self._open[self._published] = message
            send(producer, queue, message, mandatory=True)
        while self._open:
            self.connection.drain_events(timeout=max(0.001, deadline - monotonic()))
        if self._no_queue:
            raise BrokerUnavailable(f"{queue}: no such queue ({self._no_queue})")
        return self._refused

    def _on_confirmed(self, tag: int, multiple: bool) -> list[Outgoing]:
        """Remove and return the messages that a confirmation is about."""
        confirmed = {tag}
        if multiple:
            confirmed = {number for number in self._open if number <= tag}
        numbers = [number for number in self._open if number in confirmed]
        return [self._open.pop(number) for number in numbers]

    def _on_refused(self, tag: int, multiple: bool) -> None:
        self._refused += self._on_confirmed(tag, multiple)

    def _on_returned(self, error: Exception, *_: Any) -> None:
        self._no_queue = str(error)


class _Connection(pyamqp.Connection):
    Channel = _Channel


class _PlainTransport(pyamqp.Transport):
    Connection = _Connection


class _SecureTransport(pyamqp.SSLTransport):
    Connection = _Connection
