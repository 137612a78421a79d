"""A least-recently-used cache of loaded networks."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class ModelCache(Generic[T]):
    """Keeps the `capacity` networks used last; a load that fails leaves the cache as it
    was.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._loaded: OrderedDict[str, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str, load: Callable[[], T]) -> T:
        """The network called `name`; `load` reads it when it is not here; then the
        oldest is let go.
        """
        with self._lock:
            if name in self._loaded:
                self._loaded.move_to_end(name)
                return self._loaded[name]
            network = load()
            self._loaded[name] = network
            while len(self._loaded) > self._capacity:
                self._loaded.popitem(last=False)
            return network
