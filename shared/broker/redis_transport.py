"""kombu's Redis transport with a gap closed: taking a message and leasing it is one
atomic step on the server.

kombu pops a message (BRPOP) and writes it down as unacknowledged afterwards: a process
that dies in between has lost it, and so has a server at its memory limit, which allows
the pop and refuses the note. Here the pop is a script that does both, and the blocking
wait (`BLMOVE` of a queue's last element onto its own place) takes nothing. The other
differences follow from owning that script:

- A lease is a deadline on the server's clock: skewed workers cannot give a job away
  early, and consumers with another lease time cannot either.
- Each taking has a new delivery tag: a late acknowledgement cannot end the lease of the
  next holder.
- Leases lie under our own keys: foreign kombu consumers on the same server never
  restore our messages, nor we theirs.
- An entry that is not a kombu envelope is delivered as a raw body instead of breaking
  the consumer.

Entries in the queues stay kombu's own, so any kombu client can publish to them.
"""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from queue import Empty
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from redis.exceptions import OutOfMemoryError

from shared.broker.envelope import Content, payload, seal, unseal
from shared.broker.qos import HeldQoS

IDLE_S = 0.1
"""Pause between two looks at a queue for which the server refuses to let us wait."""

CLAIM_MAX = 200
"""Most messages taken in one step; keeps the script short for the server's other
clients.
"""

_CLAIM = """
local now = redis.call('TIME')
local deadline = now[1] + now[2] / 1e6 + ARGV[1]
local taken = {}
for i = 2, #ARGV do
  local raw = redis.call('RPOP', KEYS[1])
  if not raw then break end
  redis.call('HSET', KEYS[2], ARGV[i], KEYS[1] .. '\\n' .. raw)
  redis.call('ZADD', KEYS[3], deadline, ARGV[i])
  taken[i - 1] = raw
end
return taken
"""

_RENEW = """
local now = redis.call('TIME')
local deadline = now[1] + now[2] / 1e6 + ARGV[1]
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], 'XX', deadline, ARGV[i]) end
"""

# Gives back the named deliveries, newest first so that the oldest is taken next, or,
# with no names, expired ones.
_GIVE_BACK = """
local tags = ARGV
if #tags == 0 then
  local now = redis.call('TIME')
  tags = redis.call('ZRANGE', KEYS[2], now[1] + now[2] / 1e6, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, 200)
end
local given = 0
for _, tag in ipairs(tags) do
  local entry = redis.call('HGET', KEYS[1], tag)
  redis.call('ZREM', KEYS[2], tag)
  redis.call('HDEL', KEYS[1], tag)
  if entry then
    local at = string.find(entry, '\\n', 1, true)
    local queue, raw = string.sub(entry, 1, at - 1), string.sub(entry, at + 1)
    local mark = '{"redelivered": true, '
    if string.sub(raw, 1, 1) == '{' and string.sub(raw, 1, #mark) ~= mark then raw = mark .. string.sub(raw, 2) end
    redis.call('RPUSH', queue, raw)
    given = given + 1
  end
end
return given
"""


class QoS(HeldQoS, kombu_redis.QoS):
    """The deliveries in hand. Used on the connection's thread only."""

    def append(self, message: Any, delivery_tag: str) -> None:
        # The claim has written the lease already.
        virtual.QoS.append(self, message, delivery_tag)

    def restore_visible(self, *_: Any, **__: Any) -> None:
        """Do nothing: kombu would scan on its own schedule, `restore_expired` runs on
        ours.
        """

    def settle(self, tags: list[str]) -> None:
        """Remove deliveries, on the server and here."""
        with self.channel.control.pipeline() as pipe:
            pipe.zrem(self.unacked_index_key, *tags)
            pipe.hdel(self.unacked_key, *tags)
            pipe.execute()
        self.forget(tags)

    def ack(self, delivery_tag: str) -> None:
        self.settle([delivery_tag])

    def renew(self) -> None:
        """Extend every unsettled delivery to a full lease from now; one whose lease was
        lost stays lost.
        """
        if self.tags:
            self.channel.renew_script(
                keys=[self.unacked_index_key],
                args=[self.visibility_timeout, *self.tags],
            )

    def restore_expired(self) -> int:
        """Put every message whose lease ran out back into its queue; their number."""
        given: int = self.channel.give_back_script(
            keys=[self.unacked_key, self.unacked_index_key]
        )
        return given

    def restore_unacked(self, client: Any = None) -> None:  # noqa: ARG002
        tags = self.tags[::-1]
        if not tags:
            return
        self.forget(tags)
        keys = [self.unacked_key, self.unacked_index_key]
        self.channel.give_back_script(keys=keys, args=tags)


class Channel(kombu_redis.Channel):
    """A channel that consumes at most one queue."""

    QoS = QoS
    _in_poll: Any
    _brpop_sent_at: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.opened = monotonic()
        super().__init__(*args, **kwargs)

    @cached_property
    def control(self) -> Any:
        """A client that is never blocked by the wait for messages."""
        return self._create_client()

    @cached_property
    def claim_script(self) -> Any:
        return self.control.register_script(_CLAIM)

    @cached_property
    def renew_script(self) -> Any:
        return self.control.register_script(_RENEW)

    @cached_property
    def give_back_script(self) -> Any:
        return self.control.register_script(_GIVE_BACK)

    def _brpop_start(self, timeout: float | None = None) -> None:
        if not self.active_queues:
            return
        queue = self.active_queues[0]
        self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()
        self.client.connection.send_command(
            "BLMOVE", queue, queue, "RIGHT", "RIGHT", timeout or self.brpop_timeout
        )

    def _brpop_read(self, **_: Any) -> bool:
        """Take messages after a wait. Raises `Empty` if there are none."""
        waiting = None
        refused = False
        try:
            waiting = self.client.parse_response(self.client.connection, "BLMOVE")
        except OutOfMemoryError:
            # A full server refuses the wait, but not the claim, and only claims can
            # empty it.
            refused = True
        except self.connection_errors:
            self.client.connection.disconnect()
            raise
        finally:
            self._in_poll = None
        if (waiting is None and not refused) or not self._claim():
            if refused:
                sleep(IDLE_S)
            raise Empty
        return True

    def _claim(self) -> int:
        """Take as many messages as the prefetch has room for; their number."""
        queue = self.active_queues[0]
        room = min(self.qos.can_consume_max_estimate(), CLAIM_MAX)
        tags = [str(uuid4()) for _ in range(room)]
        taken = self.claim_script(
            keys=[queue, self.unacked_key, self.unacked_index_key],
            args=[self.visibility_timeout, *tags],
        )
        for tag, raw in zip(tags, taken, strict=False):
            content = unseal(raw) or Content(raw, {})
            self.connection._deliver(payload(content, tag, queue), queue)
        return len(taken)

    def put_many(
        self, queue: str, messages: Iterable[tuple[bytes, Mapping[str, str]]]
    ) -> None:
        """Publish all or none, in order."""
        sealed = [seal(body, headers, queue) for body, headers in messages]
        self.control.lpush(queue, *sealed)

    def close(self) -> None:
        # The wait takes nothing, so that its answer need not be awaited.
        self._in_poll = None
        super().close()


class Transport(kombu_redis.Transport):
    Channel = Channel

    def drain_events(self, connection: Any, timeout: Any = None, **_: Any) -> None:  # noqa: ARG002
        """One turn of the poller, also when a foreign descriptor woke it. Raises
        `TimeoutError` if nothing came.
        """
        try:
            self.cycle.get(self._deliver, timeout=timeout)  # type: ignore[union-attr]
        except Empty:
            raise TimeoutError from None
