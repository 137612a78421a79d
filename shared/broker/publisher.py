"""Publishing: confirmed by the broker, within a time limit, from any thread."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import islice
from time import monotonic
from typing import Any

from kombu.connection import Connection

from shared.broker.transport import Outgoing
from shared.broker.transports import transport
from shared.errors import BrokerUnavailable
from shared.runtime.settings import BrokerSettings

BATCH = 200
"""Messages that one confirmation may cover."""


class Publisher:
    """One connection, opened when it is first needed and again after a failure.
    Thread-safe.
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
        """Returns when the broker holds the message.

        Raises `BrokerUnavailable` within `publish_timeout_s`; the message may have
        arrived all the same. A message whose confirmation was lost is sent again and
        may arrive twice: receivers are idempotent.
        """
        self._publish(queue, [(body, headers or {})])

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
            self._publish(queue, [(body, headers or {}) for body in batch])

    def close(self) -> None:
        with self._lock:
            self._disconnect()

    def _publish(self, queue: str, messages: list[Outgoing]) -> None:
        # Waiting for the turn and each of two attempts may take 0.4 of the limit: no
        # path adds up to more than all.
        share_s = 0.4 * self._timeout_s
        deadline = monotonic() + self._timeout_s
        if not self._lock.acquire(timeout=share_s):
            raise BrokerUnavailable(
                f"{queue}: the message before this one waits for the broker since {share_s:g} s"
            )
        try:
            try:
                self._attempt(queue, messages)
            except self._transport.errors:
                # Most often the connection died while nobody looked; a new one tells
                # whether the broker did too.
                self._disconnect()
                if monotonic() + share_s > deadline:
                    raise
                self._attempt(queue, messages)
        except self._transport.errors as error:
            self._disconnect()
            raise BrokerUnavailable(
                f"{queue}: {type(error).__name__}: {error}"
            ) from error
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
        connection, self._connection, self._channel = self._connection, None, None
        self._declared.clear()
        if connection is not None:
            with suppress(*self._transport.errors):
                # without a farewell, for which a frozen broker would make us wait
                connection.collect()
