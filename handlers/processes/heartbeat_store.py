"""A store whose use is a sign of life, for loops of which one round may take long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from shared.runtime.heartbeat import Pulse
from shared.s3.store import ObjectStore

PATIENCE_S = 180.0
"""Longer than one call to a store that hangs, with all its repetitions."""


def watched(store: ObjectStore, pulse: Pulse) -> ObjectStore:
    """The same store; every call, and every listed object, beats."""
    return cast(ObjectStore, _Watched(store, pulse))


class _Watched:
    def __init__(self, store: ObjectStore, pulse: Pulse) -> None:
        self._store, self._pulse = store, pulse

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name in ("list", "list_versions", "unfinished"):
            return lambda *args, **kwargs: self._each(method(*args, **kwargs))

        def call(*args: Any, **kwargs: Any) -> Any:
            self._pulse.beat()
            return method(*args, **kwargs)

        return call

    def _each(self, items: Iterator[Any]) -> Iterator[Any]:
        for item in items:
            self._pulse.beat()
            yield item
