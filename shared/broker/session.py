"""One connection's life as a consumer: its channels, what is in hand, leases. Used by
one thread only.
"""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from shared.broker.delivery import Delivery, Ruling
from shared.broker.transport import Transport
from shared.runtime.telemetry import logger


class Session:
    """Connects and starts consuming when made, a channel per queue so that each has its
    own prefetch.

    `in_hand` maps every unsettled delivery to its tag; what an earlier session left
    there is held on, its leases having survived. `settle` is what the deliveries call,
    from any thread.
    """

    def __init__(
        self,
        transport: Transport,
        prefetch: Mapping[str, int],
        on_delivery: Callable[[Delivery], None],
        settle: Callable[[Delivery, Ruling], None],
        in_hand: Mapping[Delivery, Any],
    ) -> None:
        self._transport, self._on_delivery, self._settle = (
            transport,
            on_delivery,
            settle,
        )
        self.in_hand = dict(in_hand)
        self._connection = transport.open(consuming=True)
        self._channels: dict[str, Any] = {}
        self._early: list[Delivery] | None = []
        try:
            for queue in prefetch:
                channel = self._channels[queue] = self._connection.channel()
                transport.declare(channel, queue)
            for queue, count in prefetch.items():
                self._consume(queue, count)
            self._begin()
        except BaseException:
            self.abandon()
            raise

    def _consume(self, queue: str, count: int) -> None:
        channel = self._channels[queue]
        if held := [
            tag for delivery, tag in self.in_hand.items() if delivery.queue == queue
        ]:
            self._transport.adopt(channel, held)
        self._transport.consume(
            channel, queue, count, lambda message: self._take(queue, message)
        )

    def _begin(self) -> None:
        """Hand over what came while we began: had that failed, it would be another's,
        and its holder none the wiser.
        """
        early, self._early = self._early or [], None
        for delivery in early:
            self._hand_over(delivery)

    def _take(self, queue: str, message: Any) -> None:
        body = (
            message.body.encode()
            if isinstance(message.body, str)
            else bytes(message.body or b"")
        )
        redelivered = bool(message.delivery_info.get("redelivered"))
        delivery = Delivery(
            queue, body, dict(message.headers), redelivered, self._settle
        )
        self.in_hand[delivery] = message.delivery_tag
        if self._early is None:
            self._hand_over(delivery)
        else:
            self._early.append(delivery)

    def _hand_over(self, delivery: Delivery) -> None:
        try:
            self._on_delivery(delivery)
        # whatever its type, it must not pass for a broken connection
        except Exception as error:
            raise RuntimeError("on_delivery failed") from error

    def wait(self, wake: socket.socket, timeout_s: float) -> None:
        """Hand over what arrives; returns early when `wake` is readable."""
        self._transport.wait(self._connection, wake, timeout_s)

    def settle(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge; those that are not in hand are passed over, their messages come
        again.
        """
        tags: dict[str, list[Any]] = defaultdict(list)
        for delivery in deliveries:
            if delivery in self.in_hand:
                tags[delivery.queue].append(self.in_hand[delivery])
            else:
                logger().debug("delivery.lost", queue=delivery.queue)
        for queue, of_queue in tags.items():
            self._transport.settle(self._channels[queue], of_queue)
        for delivery in deliveries:
            self.in_hand.pop(delivery, None)

    def beat(self) -> float:
        """Keep the connection alive; when the broker was last heard."""
        return self._transport.beat(next(iter(self._channels.values())))

    def renew(self) -> None:
        for channel in self._channels.values():
            self._transport.renew(channel)

    def close(self) -> None:
        """Give everything in hand back at once and disconnect."""
        self.in_hand.clear()
        for channel in self._channels.values():
            self._transport.give_back(channel)
        self._connection.release()

    def abandon(self) -> None:
        """The connection is broken: drop it without talking to it."""
        for channel in self._channels.values():
            self._transport.disarm(channel)
        with suppress(*self._transport.errors):
            self._connection.collect()
