"""What is in hand, on the transports where kombu emulates acknowledgement: a lease
there outlives its connection.
"""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kombu.transport import virtual


class HeldQoS(virtual.QoS):
    """Counts against the prefetch; tells kombu to give nothing back by itself. Used by
    the connection's thread only.
    """

    _delivered: Any
    _on_collect: Any

    @property
    def tags(self) -> list[str]:
        return list(self._delivered)

    def adopt(self, tags: Iterable[str]) -> None:
        """Hold deliveries that an earlier connection took."""
        self._delivered.update(dict.fromkeys(tags))

    def forget(self, tags: Iterable[str]) -> None:
        for tag in tags:
            self._delivered.pop(tag, None)

    def disarm(self) -> None:
        """Forget all here, nothing on the broker; kombu would give back when this is
        collected.
        """
        self._on_collect.cancel()
        self._delivered.clear()
