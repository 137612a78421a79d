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
        """The network called `name`. One that is not here is read by `load`, and the
        network used longest ago makes room for it.
        """
        with self._lock:
            network = self._loaded.get(name)
            if network is None:
                network = load()
                self._loaded[name] = network
            self._loaded.move_to_end(name)
            if len(self._loaded) > self._capacity:
                self._loaded.popitem(last=False)
            return network
