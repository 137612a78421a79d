"""What the broker suite needs around a consumer: run it, wait for deliveries, kill one."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from shared.broker.consumer import Consumer, Delivery
from shared.runtime.settings import Settings
from tests.support.waiting import eventually


class Taken:
    """The deliveries of one consumer, in order."""

    def __init__(
        self,
        consumer: Consumer,
        thread: threading.Thread,
        stop: threading.Event,
        deliveries: list[Delivery],
    ) -> None:
        self.consumer, self.deliveries = consumer, deliveries
        self._thread, self._stop = thread, stop

    def take(self, count: int) -> list[Delivery]:
        """The first `count` deliveries, waited for."""
        eventually(
            lambda: len(self.deliveries) >= count,
            f"{count} deliveries; there are {len(self.deliveries)}",
        )
        return self.deliveries[:count]

    def bodies(self) -> list[bytes]:
        return [delivery.body for delivery in self.deliveries]

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the consumer does not stop"


@contextmanager
def consuming(
    settings: Settings,
    prefetch: Mapping[str, int],
    act: Callable[[Delivery], None] = lambda _: None,
    is_alive: Callable[[], bool] = lambda: True,
) -> Iterator[Taken]:
    """A running consumer that collects its deliveries after `act` saw them."""
    deliveries: list[Delivery] = []

    def on_delivery(delivery: Delivery) -> None:
        act(delivery)
        deliveries.append(delivery)

    consumer, stop = (
        Consumer(settings, prefetch, on_delivery, is_alive),
        threading.Event(),
    )
    thread = threading.Thread(target=consumer.run, args=(stop,), daemon=True)
    taken = Taken(consumer, thread, stop, deliveries)
    thread.start()
    try:
        yield taken
    finally:
        taken.stop()


class Holder:
    """A consumer in a process of its own that takes and holds, to be killed."""

    def __init__(
        self, settings: Settings, queue: str, prefetch: int = 1, skew_s: float = 0
    ) -> None:
        url = settings.broker_url.get_secret_value()
        arguments = [url, queue, str(settings.lease_s), str(prefetch), str(skew_s)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.holder", *arguments],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self._lines = self._process.stdout

    def taken(self) -> str:
        """The next body it was handed, waited for."""
        return self._lines.readline().strip()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._lines.close()

    def __enter__(self) -> Holder:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
