"""Unsettled deliveries on the transports where kombu emulates acknowledgement; a lease
there outlives its connection.
"""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kombu.transport import virtual


class HeldQoS(virtual.QoS):
    """Counts unsettled deliveries against the prefetch, and keeps kombu from giving
    them back by itself. Used by the connection's thread only.
    """

    _delivered: Any
    _on_collect: Any

    @property
    def tags(self) -> list[str]:
        """Tags of the unsettled deliveries, in their order."""
        return list(self._delivered)

    def adopt(self, tags: Iterable[str]) -> None:
        """Hold deliveries that an earlier connection took."""
        self._delivered.update(dict.fromkeys(tags))

    def forget(self, tags: Iterable[str]) -> None:
        """Remove deliveries here, and not on the broker."""
        for tag in tags:
            self._delivered.pop(tag, None)

    def disarm(self) -> None:
        """Forget all deliveries. Otherwise kombu would give them back when this is
        garbage-collected.
        """
        self._on_collect.cancel()
        self._delivered.clear()
