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
from collections.abc import Callable, Sequence
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
"""Deliveries after which RabbitMQ itself sets a message aside. A backstop: attempts are
counted by us, and few.
"""

BURST = 100
"""Most frames handled before settlements get their turn."""

REFUSED_PAUSE_S = 0.02
"""Before a refused message is sent again; doubled each time."""


class AmqpTransport(Transport):
    leases_survive = False

    def _connection(self, consuming: bool) -> Connection:
        # A publisher has no thread that could send heartbeats; it notices a dead peer
        # by the missing confirmation.
        # None: the name in the URL
        verified = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None}
        secure = self.url.startswith("amqps:")
        # Shorter than the pause between two heartbeats, each of which would renew the
        # patience.
        patience_s = 0.4 * HEARTBEAT_S if consuming else self.attempt_s
        return Connection(
            self.url,
            transport=_SecureTransport if secure else _PlainTransport,
            ssl=verified if secure else False,
            heartbeat=HEARTBEAT_S if consuming else 0,
            connect_timeout=patience_s,
            transport_options={"read_timeout": patience_s, "write_timeout": patience_s},
        )

    def _errors(self) -> tuple[type[Exception], ...]:
        return (amqp.AMQPError,)

    def declare(self, channel: Any, queue: str) -> None:
        """Quorum queues; `queue` and the `.dead` beside it are declared together, as
        one names the other.
        """
        # People list and retry the dead: no reading of theirs may count as a failed
        # delivery.
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
            # half a frame so far: it is kept, the rest comes
            with suppress(TimeoutError):
                link.drain_events(timeout=1)
            timeout_s = 0

    def settle(self, channel: Any, tags: list[Any]) -> None:
        channel.ack_many(tags)

    def beat(self, channel: Any) -> float:
        link = channel.connection
        link.heartbeat_tick()
        # a server may have switched heartbeats off
        return float(link.last_heartbeat_received) or monotonic()

    def size(self, channel: Any, queue: str) -> int:
        self.declare(channel, queue)
        return int(channel.queue_declare(queue, passive=True).message_count)

    def count(self, channel: Any, queue: str) -> int:
        """Raises where the queue has no leader, as for a moment after the broker's
        start: its size is told as 0.
        """
        if ready := self.size(channel, queue):
            return ready
        # what came meanwhile returns to its place when that closes
        with channel.connection.channel() as own:
            message = own.basic_get(queue)
        return 0 if message is None else int(message.delivery_info["message_count"]) + 1

    def scan(
        self,
        channel: Any,
        queue: str,
        limit: int,
        take: Callable[[bytes, dict[str, Any]], bool],
    ) -> None:
        # On a channel of its own: what is not taken returns to its place when that
        # closes.
        with channel.connection.channel() as own:
            self.declare(own, queue)
            for _ in range(limit):
                message = own.basic_get(queue)
                if message is None:
                    return
                if take(
                    message.body, message.properties.get("application_headers") or {}
                ):
                    own.basic_ack(message.delivery_tag)


def _decrypted(sock: Any) -> bool:
    """Bytes that TLS has read already, which no poll shows."""
    return bool(sock.pending()) if isinstance(sock, ssl.SSLSocket) else False


class _Channel(pyamqp.Channel):
    """Knows which of its publishes are not confirmed yet, and which of its deliveries
    are settled.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.auto_decode = False  # bodies are bytes, whatever encoding they claim
        self._published = 0
        self._open: dict[int, Outgoing] = {}
        self._refused: list[Outgoing] = []
        self._no_queue = ""
        self._settled_to = 0
        self._settled: set[int] = set()  # beyond that one

    def ack_many(self, tags: Sequence[int]) -> None:
        """One step for all up to the first that is not settled.

        Of a quorum queue a channel has 32 steps in work; those that wait behind them
        end with the channel, and their messages come again (measured: of 60
        acknowledged one by one before a stop, 27 did).
        """
        self._settled.update(tags)
        while self._settled_to + 1 in self._settled:
            self._settled_to += 1
            self._settled.remove(self._settled_to)
        if together := [tag for tag in tags if tag <= self._settled_to]:
            self.basic_ack(max(together), multiple=True)
        for tag in tags:
            if tag > self._settled_to:
                self.basic_ack(tag)

    def put_many(
        self, queue: str, messages: Sequence[Outgoing], timeout_s: float
    ) -> None:
        """Returns when all are confirmed; afterwards nothing can be outstanding, or the
        channel must be dropped.

        What the broker refuses it may take a moment later: a quorum queue that another
        client declares just now has its name before it has a leader, and refuses until
        then (RabbitMQ issue 15333 tells why).
        """
        if not self._published:
            self.confirm_select()
            self.events["basic_ack"].add(self._on_confirmed)
            self.events["basic_nack"].add(self._on_refused)
            self.events["basic_return"].add(self._on_returned)
        deadline, pause_s = monotonic() + timeout_s, REFUSED_PAUSE_S
        while messages := self._put(queue, messages, deadline):
            if monotonic() + pause_s >= deadline:
                raise BrokerUnavailable(f"{queue}: the broker refused the message")
            sleep(pause_s)
            pause_s *= 2

    def _put(
        self, queue: str, messages: Sequence[Outgoing], deadline: float
    ) -> list[Outgoing]:
        """Publish all; those that the broker refused."""
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
        """Those that this was about."""
        about = (
            [n for n in self._open if n <= tag]
            if multiple
            else self._open.keys() & {tag}
        )
        return [self._open.pop(n) for n in about]

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
