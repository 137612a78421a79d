"""Amazon SQS. The queues must exist (dots in their names become dashes): a consumer
needs no right to make them.

Checked against moto, the best stand-in that runs locally. It is not SQS: it keeps
order, forgets on restart, and never delivers twice by itself. Standard queues promise
neither order nor a single delivery.
"""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import base64
import select
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from math import ceil
from queue import Empty
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError
from kombu.connection import Connection
from kombu.transport import SQS

from shared.broker.envelope import Content, opened, payload, seal
from shared.broker.qos import HeldQoS
from shared.broker.transport import HEARTBEAT_S, Outgoing, Transport
from shared.errors import BrokerUnavailable

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
"""A stand-in for SQS on this machine speaks plain HTTP."""

BATCH = 10
"""Most entries of one request."""

LARGEST = 256 << 10
"""Characters that every queue takes; those that were made since 2025 take four times as
many.
"""

POLL_S = 1
"""How long one request waits for a message, and the pause between two rounds of
requests. Whole seconds.
"""


class SqsTransport(Transport):
    leases_survive = True

    def _connection(self, consuming: bool) -> Connection:
        timeout_s = HEARTBEAT_S if consuming else self.attempt_s
        options = {
            "region": self.settings.s3_region,
            "is_secure": urlsplit(self.url).hostname not in LOCAL_HOSTS,
            "visibility_timeout": max(1, ceil(self.settings.lease_s)),
            "wait_time_seconds": POLL_S,
            "polling_interval": 0,
            "client-config": {
                "connect_timeout": timeout_s,
                "read_timeout": timeout_s,
                "retries": {"total_max_attempts": 1},
            },
        }
        return Connection(self.url, transport=_Transport, transport_options=options)

    def _errors(self) -> tuple[type[Exception], ...]:
        return (BotoCoreError, ClientError)

    def declare(self, channel: Any, queue: str) -> None:
        # Raises if there is none.
        channel._new_queue(queue)

    def publish(self, channel: Any, queue: str, messages: Sequence[Outgoing]) -> None:
        entries = [{"MessageBody": _text(*message, queue)} for message in messages]
        channel.request("send_message_batch", queue, entries)

    def wait(
        self, connection: Connection, wake: socket.socket, timeout_s: float
    ) -> None:
        channels = connection.transport.channels
        ready = [channel for channel in channels if channel.qos.can_consume()]
        # Every queue has its turn, before any is waited for.
        found = [_poll(channel, 0) for channel in ready]
        if any(found):
            return
        is_holding = any(channel.qos.tags for channel in channels)
        if is_holding or not ready:
            # Here a settlement ends the wait.
            select.select([wake], [], [], POLL_S if ready else timeout_s)
        else:
            # One wait for all queues, not one for each.
            _poll(ready[0], POLL_S)

    def settle(self, channel: Any, tags: list[Any]) -> None:
        channel.remove(channel.consumed, tags)
        channel.qos.forget(tags)

    def beat(self, channel: Any) -> float:
        return float(max(each.heard for each in channel.connection.channels))

    def renew(self, channel: Any) -> None:
        channel.hide(channel.consumed, channel.qos.tags, channel.visibility_timeout)

    def adopt(self, channel: Any, tags: Iterable[Any]) -> None:
        channel.qos.adopt(tags)

    def give_back(self, channel: Any) -> None:
        channel.hide(channel.consumed, channel.qos.tags[::-1], 0)
        channel.qos.disarm()

    def disarm(self, channel: Any) -> None:
        channel.qos.disarm()

    def size(self, channel: Any, queue: str) -> int:
        return int(channel._size(queue))

    def scan(
        self,
        channel: Any,
        queue: str,
        limit: int,
        take: Callable[[bytes, dict[str, Any]], bool],
    ) -> None:
        left: list[str] = []
        # The size is approximate, but avoids waiting for messages that are not there.
        unseen = min(limit, self.size(channel, queue))
        try:
            while unseen > 0 and (found := channel.receive(queue, min(unseen, BATCH))):
                unseen -= len(found)
                for tag, content in found:
                    if take(content.body, content.headers):
                        channel.remove(queue, [tag])
                    else:
                        # It stays hidden until all were seen, or it would be received
                        # again and again.
                        left.append(tag)
        finally:
            channel.hide(queue, left, 0)


def _poll(channel: Any, wait_s: int) -> bool:
    """Hand over what a queue has. Returns whether there were messages."""
    channel.poll_s = wait_s
    try:
        channel.drain_events()
    except Empty:
        return False
    return True


class _QoS(HeldQoS, SQS.QoS):
    """The unsettled deliveries."""


class _Channel(SQS.Channel):
    """A channel that consumes at most one queue. A delivery's tag is its receipt handle."""

    QoS = _QoS
    poll_s = POLL_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.heard = monotonic()
        super().__init__(*args, **kwargs)

    @property
    def consumed(self) -> str:
        return str(self._active_queues[0])

    def _update_queue_cache(self, queue_name_prefix: str) -> None:
        """Do nothing: kombu would list every queue of the account, which needs a right
        and is of no use.
        """

    def _new_queue(self, queue: str, **_: Any) -> str:
        """The queue's address. Never creates a queue."""
        name = self.canonical_queue_name(queue)
        if name not in self._queue_cache:
            response = self.sqs().get_queue_url(QueueName=name)
            self._queue_cache[name] = response["QueueUrl"]
        return str(self._queue_cache[name])

    def _get_bulk(self, queue: str, *_: Any, **__: Any) -> None:
        room = self.qos.can_consume_max_estimate()
        found = self.receive(queue, min(room, BATCH))
        for tag, content in found:
            self.connection._deliver(payload(content, tag, queue), queue)
        if not found:
            raise Empty

    def receive(self, queue: str, count: int) -> list[tuple[str, Content]]:
        """At most `count` messages with their receipts, hidden from others for a lease."""
        response = self.sqs().receive_message(
            QueueUrl=self._new_queue(queue),
            MaxNumberOfMessages=count,
            WaitTimeSeconds=self.poll_s,
            VisibilityTimeout=self.visibility_timeout,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        self.heard = monotonic()
        return [
            (message["ReceiptHandle"], _content(message))
            for message in response.get("Messages", [])
        ]

    def remove(self, queue: str, tags: Iterable[str]) -> None:
        """Delete messages by their receipts."""
        entries = [{"ReceiptHandle": tag} for tag in tags]
        self.request("delete_message_batch", queue, entries, lost_ok=True)

    def hide(self, queue: str, tags: Iterable[str], seconds: int) -> None:
        """Hide messages from other consumers for so many seconds from now."""
        entries = [{"ReceiptHandle": tag, "VisibilityTimeout": seconds} for tag in tags]
        self.request("change_message_visibility_batch", queue, entries, lost_ok=True)

    def request(
        self,
        operation: str,
        queue: str,
        entries: Sequence[dict[str, Any]],
        lost_ok: bool = False,
    ) -> None:
        """Send one request for each ten entries.

        Raises `BrokerUnavailable` if an entry is refused; with `lost_ok` not for a
        receipt that is too old.
        """
        if not entries:
            return
        send = getattr(self.sqs(), operation)
        url = self._new_queue(queue)
        for start in range(0, len(entries), BATCH):
            batch = []
            for number, entry in enumerate(entries[start : start + BATCH]):
                batch.append({"Id": str(number), **entry})
            response = send(QueueUrl=url, Entries=batch)
            self.heard = monotonic()
            for failed in response.get("Failed", []):
                code = failed["Code"].rpartition(".")[2]
                if not (lost_ok and code in _LOST):
                    raise BrokerUnavailable(f"{queue}: {operation}: {code}")


_LOST = ("ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight")
"""The lease ran out, or the message is gone. Some servers write
`AWS.SimpleQueueService.` before these.
"""


def _text(body: bytes, headers: Mapping[str, str], queue: str) -> str:
    """The envelope of a message. A text that is too large for one is sent bare, without
    headers.

    Only another program's message is as large as that; it becomes a dead letter, whose
    reason then stands in the log alone.
    """
    envelope = seal(body, headers, queue).encode()
    sealed = base64.b64encode(envelope).decode()
    if len(sealed) > LARGEST:
        with suppress(UnicodeDecodeError):
            return body.decode()
    return sealed


def _content(message: dict[str, Any]) -> Content:
    count = int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1))
    return replace(opened(message["Body"].encode()), redelivered=count > 1)


class _Transport(SQS.Transport):
    Channel = _Channel
