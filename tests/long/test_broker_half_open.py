"""One suite over every broker, part five: the line to it goes dead without a word, is
slow, or breaks at every turn.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from shared.broker.publisher import Publisher
from shared.errors import BrokerUnavailable
from shared.runtime.heartbeat import QUIET_S
from shared.runtime.settings import Settings
from tests.long.test_broker_faults import published
from tests.support.brokers import Broker
from tests.support.harness import consuming
from tests.support.proxy import Proxy
from tests.support.waiting import eventually


@pytest.fixture
def proxy(settings: Settings) -> Iterator[Proxy]:
    port = settings.broker_url.get_secret_value().rpartition(":")[2].partition("/")[0]
    with Proxy(int(port)) as made:
        yield made


@pytest.fixture
def far(broker: Broker, settings: Settings, proxy: Proxy) -> Settings:
    """Settings of a process that reaches the broker through the proxy."""
    return settings.model_copy(
        update={"broker_url": SecretStr(broker.url_at(proxy.port))}
    )


def test_a_half_open_line_is_noticed_and_left(
    broker: Broker, settings: Settings, far: Settings, proxy: Proxy, queue: str
) -> None:
    """No byte arrives any more and nobody says so: publishing raises within its limit,
    again and again; the consumer leaves the dead line, is never taken for one that
    hangs, and gets what was published as soon as there is a line.
    """
    threads = threading.active_count()
    publisher, near = (
        Publisher(far.model_copy(update={"publish_timeout_s": 4})),
        Publisher(settings),
    )
    eventually(lambda: published(publisher, queue, b"before"), "a message before")
    with consuming(far, {queue: 5}, lambda d: d.ack()) as taken:
        taken.take(1)
        proxy.swallow()
        for _ in range(2):
            start = time.monotonic()
            with pytest.raises(BrokerUnavailable):
                publisher.publish(queue, b"into the void")
            # the limit is 4 s; this tells it from a hang
            assert time.monotonic() - start < 30
        near.publish(queue, b"meanwhile")
        made = proxy.pairs
        eventually(lambda: proxy.pairs > made, "another try of the consumer")
        assert taken.consumer.stuck_s() < QUIET_S / 2
        proxy.heal()
        eventually(
            lambda: b"meanwhile" in taken.bodies(), "the message after the healing"
        )
        eventually(lambda: taken.consumer.silent_s() < 2, "the end of the silence")
        eventually(lambda: published(publisher, queue, b"after"), "a message is taken")
        eventually(lambda: b"after" in taken.bodies(), "the consumer's message")
    publisher.close()
    near.close()
    eventually(
        lambda: threading.active_count() <= threads + 2 * proxy.pairs,
        "the end of every thread",
    )


def test_a_consumer_without_a_broker_does_not_hang(
    broker: Broker, far: Settings, proxy: Proxy, queue: str
) -> None:
    """Nobody listens: the silence grows, but each try that fails shows that the loop
    turns.
    """
    proxy.close()
    with consuming(far, {queue: 1}) as taken:
        eventually(lambda: taken.consumer.silent_s() > 8, "the silence")
        assert taken.consumer.stuck_s() < taken.consumer.silent_s()


def test_a_consumer_whose_owner_blocks_it_hangs(settings: Settings, queue: str) -> None:
    """`on_delivery` does not return: the broker is heard no more, and that is no fault
    of the broker.
    """
    publisher, blocked = Publisher(settings), threading.Event()
    publisher.publish(queue, b"{}")
    with consuming(
        settings, {queue: 1}, lambda _: bool(blocked.wait(120)) and None
    ) as taken:
        try:
            eventually(lambda: taken.consumer.stuck_s() > 3, "the silence of the loop")
        finally:
            blocked.set()
        eventually(lambda: taken.consumer.stuck_s() < 2, "its end")
    publisher.close()


@pytest.mark.parametrize("fault", ["latency", "resets"])
def test_a_bad_line_loses_nothing(
    far: Settings, proxy: Proxy, queue: str, fault: str
) -> None:
    """0.2 s to each side, or every eighth request reset: what was confirmed arrives,
    and what arrives is settled.
    """
    publisher = Publisher(far)
    with consuming(far, {queue: 5}, lambda d: d.ack()) as taken:
        if fault == "latency":
            proxy.delay(0.2)
        else:
            proxy.reset(0.125, seed=1)
        confirmed = set()
        for number in range(15):
            try:
                publisher.publish(queue, str(number).encode())
            except BrokerUnavailable:
                continue
            confirmed.add(str(number).encode())
        assert confirmed
        proxy.heal()
        eventually(lambda: confirmed <= set(taken.bodies()), "everything confirmed")
    publisher.close()
