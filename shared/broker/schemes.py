"""The brokers that are known, by the scheme of their URL."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit


class Scheme(NamedTuple):
    """`module` of `shared.broker` has the class `transport`; `port` is where such a
    broker listens, if its URL does not say.
    """

    module: str
    transport: str
    port: int


SCHEMES = {
    "redis": Scheme("redis_adapter", "RedisTransport", 6379),
    "rediss": Scheme("redis_adapter", "RedisTransport", 6379),
    "amqp": Scheme("amqp_adapter", "AmqpTransport", 5672),
    "amqps": Scheme("amqp_adapter", "AmqpTransport", 5671),
    "sqs": Scheme("sqs_adapter", "SqsTransport", 443),
}


def port_of(url: str) -> int:
    """The port of a broker's URL. Raises `KeyError` for a scheme that is not known."""
    address = urlsplit(url)
    return address.port or SCHEMES[address.scheme].port
