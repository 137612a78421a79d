"""A store of which every call is a sign of life, for loops of which one round may take
long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

from shared.runtime.heartbeat import Pulse
from shared.s3.store import ObjectStore, ObjectStream
from shared.s3.wrapped_store import WrappedStore

MAX_QUIET_S = 180.0
"""Longer than one call to a store that hangs, with all its retries."""

T = TypeVar("T")


class HeartbeatStore(WrappedStore):
    """The same store; `pulse` beats at every call and at every listed object."""

    def __init__(self, store: ObjectStore, pulse: Pulse) -> None:
        super().__init__(store)
        self._pulse = pulse

    def open(
        self,
        bucket: str,
        key: str,
        version: str | None = None,
    ) -> AbstractContextManager[ObjectStream]:
        self._pulse.beat()
        return super().open(bucket, key, version)

    def _call(self, request: Callable[[], T]) -> T:
        self._pulse.beat()
        return request()

    def _iterate(self, items: Iterator[T]) -> Iterator[T]:
        for item in items:
            self._pulse.beat()
            yield item
