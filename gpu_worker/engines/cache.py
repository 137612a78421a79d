"""A least-recently-used cache of loaded networks."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, Literal, TypeVar

from gpu_worker.engines.base import CPU
from gpu_worker.pixels import memory
from shared.runtime import metrics
from shared.runtime.telemetry import logger

T = TypeVar("T")

_caches: weakref.WeakSet[ModelCache[Any]] = weakref.WeakSet()
"""Every cache of this process."""


class ModelCache(Generic[T]):
    """Keeps the `capacity` networks used last; a load that fails leaves the cache as it
    was.

    `device` is where they lie, for the log; `release` is called after networks went,
    and gives the device's memory back.
    """

    def __init__(
        self,
        capacity: int,
        device: str = CPU,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        self._capacity = capacity
        self._device = device
        self._release = release
        self._loaded: OrderedDict[str, T] = OrderedDict()
        self._lock = threading.Lock()
        _caches.add(self)

    def get(self, name: str, load: Callable[[], T]) -> T:
        """The network called `name`. One that is not here is read by `load`, and the
        network used longest ago makes room for it.
        """
        with self._lock:
            network = self._loaded.get(name)
            if network is None:
                network = self._load(name, load)
            self._loaded.move_to_end(name)
            return network

    def unload(self) -> list[str]:
        """Let go of every network; returns their names. One in use goes when its user
        ends.
        """
        with self._lock:
            names = list(self._loaded)
            for name in names:
                self._drop(name, "idle")
        return names

    def release(self) -> None:
        """Give the device's memory back, as far as nobody uses it."""
        self._release()

    def _load(self, name: str, load: Callable[[], T]) -> T:
        began_s = time.perf_counter()
        network = load()
        self._loaded[name] = network
        seconds = time.perf_counter() - began_s
        metrics.MODEL_LOAD_SECONDS.labels(model=name).observe(seconds)
        logger().info(
            "model.loaded",
            model=name,
            device=self._device,
            seconds=round(seconds, 3),
        )
        if len(self._loaded) > self._capacity:
            self._drop(next(iter(self._loaded)), "room")
            self._release()
        return network

    def _drop(self, name: str, reason: Literal["idle", "room"]) -> None:
        del self._loaded[name]
        logger().info("model.unloaded", model=name, device=self._device, reason=reason)


def unload() -> list[str]:
    """Let go of every network of this process, and give their memory back to device
    and system; returns the names.
    """
    caches = list(_caches)
    names = [name for cache in caches for name in cache.unload()]
    if names:
        gc.collect()  # a network may stand in a circle of references
        for cache in caches:
            cache.release()
        memory.give_back()
    return names
