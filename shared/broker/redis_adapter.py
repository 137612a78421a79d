"""Redis and Valkey. The broker must keep its data on disk (`appendonly yes`) and must
not evict keys.
"""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

from kombu.connection import Connection
from kombu.utils.eventio import READ

from shared.broker import redis_transport
from shared.broker.envelope import Content, unseal
from shared.broker.transport import HEARTBEAT_S, Outgoing, Transport

# A lease names its queue in the first line; counted on the server, so that no message
# travels.
_IN_HAND_OF = """
local count = 0
for _, lease in ipairs(redis.call('HVALS', KEYS[1])) do
  if lease:sub(1, #ARGV[1] + 1) == ARGV[1] .. '\\n' then count = count + 1 end
end
return count
"""

CONNECT_S = 3.0


class RedisTransport(Transport):
    leases_survive = True

    def _connection(self, consuming: bool) -> Connection:
        timeout_s = HEARTBEAT_S if consuming else self.attempt_s
        options = {
            "visibility_timeout": self.settings.lease_s,
            "unacked_key": "darkroom.leases",
            "unacked_index_key": "darkroom.leases.deadlines",
            "priority_steps": [0],
            "socket_timeout": timeout_s,
            "socket_connect_timeout": min(CONNECT_S, timeout_s),
            "socket_keepalive": True,
            "health_check_interval": HEARTBEAT_S,
        }
        is_secure = self.url.startswith("rediss:")
        # Otherwise kombu accepts any certificate.
        verified = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
        return Connection(
            self.url,
            transport=redis_transport.Transport,
            ssl=verified if is_secure else False,
            transport_options=options,
        )

    def _errors(self) -> tuple[type[Exception], ...]:
        # The server's own refusals (loading, out of memory, read-only replica) pass,
        # too.
        return (
            *redis_transport.Transport.connection_errors,
            *redis_transport.Transport.channel_errors,
        )

    def publish(self, channel: Any, queue: str, messages: Sequence[Outgoing]) -> None:
        channel.put_many(queue, messages)

    def wait(
        self, connection: Connection, wake: socket.socket, timeout_s: float
    ) -> None:
        connection.transport.cycle.poller.register(wake, READ)
        with suppress(TimeoutError):
            connection.drain_events(timeout=timeout_s)

    def settle(self, channel: Any, tags: list[Any]) -> None:
        channel.qos.settle(tags)

    def beat(self, channel: Any) -> float:
        # After an outage the other holders need a moment to renew what ran out
        # meanwhile.
        if monotonic() - channel.opened > self.settings.lease_s / 3:
            channel.qos.restore_expired()
        else:
            channel.control.ping()
        return monotonic()

    def renew(self, channel: Any) -> None:
        channel.qos.renew()

    def adopt(self, channel: Any, tags: Iterable[Any]) -> None:
        channel.qos.adopt(tags)
        channel.qos.renew()

    def give_back(self, channel: Any) -> None:
        channel.qos.restore_unacked()

    def disarm(self, channel: Any) -> None:
        channel.qos.disarm()

    def size(self, channel: Any, queue: str) -> int:
        return int(channel.control.llen(queue))

    def in_hand(self, channel: Any) -> int | None:
        return int(channel.control.hlen(channel.unacked_key))

    def in_hand_of(self, channel: Any, queue: str) -> int:
        return int(channel.control.eval(_IN_HAND_OF, 1, channel.unacked_key, queue))

    def head(self, channel: Any, queue: str) -> Mapping[str, Any] | None:
        raw = channel.control.lindex(queue, -1)
        content = unseal(raw) if raw else None
        return content.headers if content else None

    def scan(
        self,
        channel: Any,
        queue: str,
        limit: int,
        take: Callable[[bytes, dict[str, Any]], bool],
    ) -> None:
        for raw in reversed(channel.control.lrange(queue, -limit, -1)):
            content = unseal(raw) or Content(raw, {})
            if take(content.body, content.headers):
                channel.control.lrem(queue, -1, raw)
