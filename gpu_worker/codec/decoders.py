"""As many decoders as photos are prepared at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from gpu_worker.codec.sandbox import Decoder
from gpu_worker.photo import Photo
from shared.runtime.heartbeat import own


class Decoders:
    """Offers what a `Decoder` does to `count` threads at a time; others wait.

    The first one is loaded from the start, each other when all before it are busy.
    """

    def __init__(self, make: Callable[[], Decoder], count: int) -> None:
        self._make = make
        self._free = [make()]
        self._rooms = threading.Semaphore(count)

    def decode(
        self, data: bytes | bytearray, pixels: int | None = None, page: int = 1
    ) -> Photo:
        """As `Decoder.decode`."""
        with self._taken() as decoder:
            return decoder.decode(data, pixels, page)

    def to_srgb(self, pixels: NDArray[np.uint8], icc: bytes) -> NDArray[np.uint8]:
        """As `Decoder.to_srgb`."""
        with self._taken() as decoder:
            return decoder.to_srgb(pixels, icc)

    @contextmanager
    def _taken(self) -> Iterator[Decoder]:
        with own().waiting():
            self._rooms.acquire()
        try:
            try:
                decoder = self._free.pop()
            except IndexError:
                decoder = self._make()
            try:
                yield decoder
            finally:
                self._free.append(decoder)
        finally:
            self._rooms.release()
