"""Requests that are made beside each other, so that a store that is far away is waited
for once and not once for each.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from shared.runtime.heartbeat import own

T = TypeVar("T")


class Asked(Generic[T]):
    """A request on its way, in a thread of its own.

    No pool: a pool's threads would hold up the end of the process for as long as a
    store is silent.
    """

    def __init__(self, request: Callable[[], T]) -> None:
        self._request = request
        self._future: Future[T] = Future()
        threading.Thread(target=self._run, name="request", daemon=True).start()

    def answer(self) -> T:
        """The answer, once it is there, or what the request raised. Whoever waits for
        it does not count as stuck: requests have time limits of their own.
        """
        with own().waiting():
            return self._future.result()

    def wait(self) -> None:
        """Wait until the request has ended, in whatever way."""
        with own().waiting():
            self._future.exception()

    def _run(self) -> None:
        try:
            self._future.set_result(self._request())
        except BaseException as error:
            self._future.set_exception(error)
