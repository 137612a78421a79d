"""How much waits in the broker."""

from __future__ import annotations

from shared.broker.topology import ALL, dead
from shared.broker.transports import connected
from shared.settings import Settings

IN_HAND = "unacked"


def depth(settings: Settings) -> dict[str, int]:
    """Ready messages of every queue and every `.dead`; with Redis also `unacked`, those in hand of any consumer.

    Raises `BrokerUnavailable`.
    """
    with connected(settings) as (transport, channel):
        sizes = {name: transport.size(channel, name) for queue in ALL for name in (queue, dead(queue))}
        in_hand = transport.in_hand(channel)
    return sizes if in_hand is None else sizes | {IN_HAND: in_hand}
