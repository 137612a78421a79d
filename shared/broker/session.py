"""The life of one consuming connection: its channels, its unsettled deliveries and
their leases. Used by one thread only.
"""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from shared.broker.delivery import Delivery, Settlement
from shared.broker.transport import Transport
from shared.runtime import metrics
from shared.runtime.telemetry import logger


class Session:
    """Connects and starts consuming when constructed, on a channel for each queue, so
    that each queue has its own prefetch.

    `unsettled` maps every unsettled delivery to its tag. Those of an earlier session
    are adopted, where their leases survive. `settle` is what the deliveries call, from
    any thread.
    """

    def __init__(
        self,
        transport: Transport,
        prefetch: Mapping[str, int],
        on_delivery: Callable[[Delivery], None],
        settle: Callable[[Delivery, Settlement], None],
        unsettled: Mapping[Delivery, Any],
    ) -> None:
        self._transport = transport
        self._on_delivery = on_delivery
        self._settle = settle
        self.unsettled = dict(unsettled)
        self._connection = transport.open(consuming=True)
        self._channels: dict[str, Any] = {}
        self._early: list[Delivery] | None = []
        try:
            for queue in prefetch:
                channel = self._connection.channel()
                self._channels[queue] = channel
                transport.declare(channel, queue)
            for queue, count in prefetch.items():
                self._consume(queue, count)
            self._deliver_early()
        except BaseException:
            self.abandon()
            raise

    def _consume(self, queue: str, count: int) -> None:
        channel = self._channels[queue]
        tags = [
            tag for delivery, tag in self.unsettled.items() if delivery.queue == queue
        ]
        if tags:
            self._transport.adopt(channel, tags)

        def on_message(message: Any) -> None:
            self._take(queue, message)

        self._transport.consume(channel, queue, count, on_message)

    def _deliver_early(self) -> None:
        """Hand over what arrived before every queue was consumed.

        Had that failed, these messages would go to another consumer, without their
        holder noticing.
        """
        early = self._early or []
        self._early = None
        for delivery in early:
            self._hand_over(delivery)

    def _take(self, queue: str, message: Any) -> None:
        body = message.body
        if isinstance(body, str):
            body = body.encode()
        headers = dict(message.headers)
        redelivered = bool(message.delivery_info.get("redelivered"))
        delivery = Delivery(
            queue, bytes(body or b""), headers, redelivered, self._settle
        )
        self.unsettled[delivery] = message.delivery_tag
        if self._early is None:
            self._hand_over(delivery)
        else:
            self._early.append(delivery)

    def _hand_over(self, delivery: Delivery) -> None:
        try:
            self._on_delivery(delivery)
        except Exception as error:
            # Whatever its type, it must not be taken for a broken connection.
            raise RuntimeError("on_delivery failed") from error

    def wait(self, wake: socket.socket, timeout_s: float) -> None:
        """Hand over what arrives. Returns early when `wake` is readable."""
        self._transport.wait(self._connection, wake, timeout_s)

    def settle(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge. Deliveries that are no longer held are skipped: their messages
        are delivered again.
        """
        tags: dict[str, list[Any]] = defaultdict(list)
        for delivery in deliveries:
            if delivery in self.unsettled:
                tags[delivery.queue].append(self.unsettled[delivery])
            else:
                metrics.LEASES_LOST.inc()
                logger().debug("delivery.lost", queue=delivery.queue)
        for queue, tags_of_queue in tags.items():
            self._transport.settle(self._channels[queue], tags_of_queue)
        for delivery in deliveries:
            self.unsettled.pop(delivery, None)

    def beat(self) -> float:
        """Keep the connection alive. Returns when the broker last answered (monotonic)."""
        return self._transport.beat(next(iter(self._channels.values())))

    def renew(self) -> None:
        """Extend the leases of all deliveries."""
        for channel in self._channels.values():
            self._transport.renew(channel)

    def close(self) -> None:
        """Give back what is unsettled, at once, and disconnect."""
        self.unsettled.clear()
        for channel in self._channels.values():
            self._transport.give_back(channel)
        self._connection.release()

    def abandon(self) -> None:
        """Drop a broken connection without using it."""
        for channel in self._channels.values():
            self._transport.disarm(channel)
        with suppress(*self._transport.errors):
            self._connection.collect()
