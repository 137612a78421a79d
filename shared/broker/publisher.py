"""Publishing from any thread, confirmed by the broker within a time limit."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from time import monotonic
from typing import Any

from kombu.connection import Connection

from shared.broker.transport import Outgoing
from shared.broker.transports import transport
from shared.errors import BrokerUnavailable
from shared.runtime.settings import BrokerSettings

SHARE = 0.4
BATCH = 200
"""Messages that one confirmation may cover."""


SENT_AT = "sent_at"
"""Header: when a message was published, in ISO 8601."""


def stamped(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return the headers of a message that is sent now."""
    return {**(headers or {}), SENT_AT: datetime.now(UTC).isoformat()}


def age_s(headers: Mapping[str, Any], now: datetime) -> float | None:
    """Seconds since a message with these headers was sent; None where they do not say,
    as other programs' messages.
    """
    try:
        sent_at = datetime.fromisoformat(headers[SENT_AT])
        return max(0.0, (now - sent_at).total_seconds())
    except (KeyError, TypeError, ValueError):
        return None


class Publisher:
    """Publishes on one connection, which is opened when it is first needed, and again
    after a failure. Thread-safe.
    """

    def __init__(self, settings: BrokerSettings) -> None:
        self._transport = transport(settings)
        self._timeout_s = settings.publish_timeout_s
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._channel: Any = None
        self._declared: set[str] = set()

    def publish(
        self, queue: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        """Publish a message. Returns when the broker holds it.

        Raises `BrokerUnavailable` within `publish_timeout_s`; the message may have
        arrived all the same. A message whose confirmation was lost is sent again and
        may arrive twice: receivers are idempotent.
        """
        self._publish(queue, [(body, stamped(headers))])

    def publish_many(
        self,
        queue: str,
        bodies: Iterable[bytes],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Publish in order, in batches that each have the time limit of one message;
        much faster than one by one.

        Raises `BrokerUnavailable` at the first batch that fails; any part of that batch
        may have arrived.
        """
        rest = iter(bodies)
        while batch := list(islice(rest, BATCH)):
            own = stamped(headers)
            self._publish(queue, [(body, own) for body in batch])

    def close(self) -> None:
        """Close the connection; the next message opens another one."""
        with self._lock:
            self._disconnect()

    def _publish(self, queue: str, messages: list[Outgoing]) -> None:
        # The wait for the lock and each of two attempts may take SHARE of the limit, so
        # that no path takes longer than the limit.
        share_s = SHARE * self._timeout_s
        deadline = monotonic() + self._timeout_s
        if not self._lock.acquire(timeout=share_s):
            raise BrokerUnavailable(
                f"{queue}: the message before this one waits for the broker since {share_s:g} s"
            )
        try:
            try:
                self._attempt(queue, messages)
            except self._transport.errors:
                # Most often the connection died while it was idle; a new one shows
                # whether the broker is away.
                self._disconnect()
                if monotonic() + share_s > deadline:
                    raise
                self._attempt(queue, messages)
        except self._transport.errors as error:
            self._disconnect()
            name = type(error).__name__
            raise BrokerUnavailable(f"{queue}: {name}: {error}") from error
        finally:
            self._lock.release()

    def _attempt(self, queue: str, messages: list[Outgoing]) -> None:
        if self._connection is None:
            self._connection = self._transport.open(consuming=False)
            self._channel = self._connection.channel()
        if queue not in self._declared:
            self._transport.declare(self._channel, queue)
            self._declared.add(queue)
        self._transport.publish(self._channel, queue, messages)

    def _disconnect(self) -> None:
        connection = self._connection
        self._connection = None
        self._channel = None
        self._declared.clear()
        if connection is not None:
            with suppress(*self._transport.errors):
                # Not `release`, for which a frozen broker would let us wait.
                connection.collect()
