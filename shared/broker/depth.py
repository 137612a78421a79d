"""How many messages wait in the broker."""

from __future__ import annotations

from typing import Any, NamedTuple

from shared.broker.topology import ALL, UPLOADS, dead_queue
from shared.broker.transport import Transport
from shared.broker.transports import connected
from shared.runtime.settings import BrokerSettings

IN_HAND = "unacked"


def check(settings: BrokerSettings) -> None:
    """Check that the broker answers. Raises `BrokerUnavailable`."""
    with connected(settings) as (transport, channel):
        transport.size(channel, UPLOADS)


def depth(settings: BrokerSettings) -> dict[str, int]:
    """Ready messages of every queue and every dead queue; with Redis also `unacked`,
    the unsettled messages of all consumers.

    Raises `BrokerUnavailable`.
    """
    with connected(settings) as (transport, channel):
        return sizes(transport, channel)


def sizes(transport: Transport, channel: Any) -> dict[str, int]:
    """What `depth` returns, on a channel that is open. Raises `transport.errors`."""
    messages: dict[str, int] = {}
    for queue in ALL:
        for name in (queue, dead_queue(queue)):
            messages[name] = transport.size(channel, name)
    in_hand = transport.in_hand(channel)
    if in_hand is not None:
        messages[IN_HAND] = in_hand
    return messages


class Backlog(NamedTuple):
    """Messages of one queue: ready, and unsettled by a consumer (0 where the broker does
    not say).
    """

    ready: int
    in_hand: int


def backlog(settings: BrokerSettings) -> dict[str, Backlog]:
    """The backlog of every queue. Raises `BrokerUnavailable`."""
    backlogs = {}
    with connected(settings) as (transport, channel):
        for queue in ALL:
            ready = transport.count(channel, queue)
            in_hand = transport.in_hand_of(channel, queue)
            backlogs[queue] = Backlog(ready, in_hand)
    return backlogs
