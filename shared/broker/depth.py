"""How much waits in the broker."""

from __future__ import annotations

from typing import NamedTuple

from shared.broker.topology import ALL, UPLOADS, dead_queue
from shared.broker.transports import connected
from shared.runtime.settings import BrokerSettings

IN_HAND = "unacked"


def check(settings: BrokerSettings) -> None:
    """Ask for one queue. Raises `BrokerUnavailable`."""
    with connected(settings) as (transport, channel):
        transport.size(channel, UPLOADS)


def depth(settings: BrokerSettings) -> dict[str, int]:
    """Ready messages of every queue and every `.dead`; with Redis also `unacked`, those
    in hand of any consumer.

    Raises `BrokerUnavailable`.
    """
    with connected(settings) as (transport, channel):
        sizes = {
            name: transport.size(channel, name)
            for queue in ALL
            for name in (queue, dead_queue(queue))
        }
        in_hand = transport.in_hand(channel)
    return sizes if in_hand is None else sizes | {IN_HAND: in_hand}


class Backlog(NamedTuple):
    """Messages of one queue: ready, and in hand of a consumer (0 where the broker does
    not tell).
    """

    ready: int
    in_hand: int


def backlog(settings: BrokerSettings) -> dict[str, Backlog]:
    """What is not settled of every queue. Raises `BrokerUnavailable`."""
    with connected(settings) as (transport, channel):
        return {
            queue: Backlog(
                transport.count(channel, queue), transport.in_hand_of(channel, queue)
            )
            for queue in ALL
        }
