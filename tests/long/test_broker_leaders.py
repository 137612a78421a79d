"""RabbitMQ alone: a quorum queue that has no leader, as for a moment when it was just
declared or the broker started.

It has its name, tells a size of 0, refuses what is published, and ends the connection
of who asks for messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import amqp
import pytest
from structlog.testing import capture_logs

from shared.broker import amqp_adapter
from shared.broker.depth import backlog
from shared.broker.publisher import Publisher
from shared.broker.topology import LOG
from shared.errors import BrokerUnavailable
from shared.runtime.settings import Settings
from tests.support.brokers import RabbitMQ
from tests.support.harness import consuming
from tests.support.waiting import eventually

pytestmark = pytest.mark.parametrize("broker", ["amqp"], indirect=True)


@pytest.fixture
def publisher(settings: Settings) -> Iterator[Publisher]:
    made = Publisher(settings)
    yield made
    made.close()


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each message that the broker refuses."""
    seen: list[int] = []
    counted = amqp_adapter._Channel._on_refused
    monkeypatch.setattr(
        amqp_adapter._Channel, "_on_refused", lambda *a: (seen.append(1), counted(*a))
    )
    return seen


def test_a_message_that_the_broker_refuses_is_sent_again(
    broker: RabbitMQ,
    settings: Settings,
    publisher: Publisher,
    queue: str,
    refusals: list[int],
) -> None:
    """The publisher tries until the queue has a leader again, and what it published is
    there once.
    """
    publisher.publish(queue, b"before")
    broker.behead(queue)
    with ThreadPoolExecutor() as pool:
        published = pool.submit(publisher.publish_many, queue, [b"1", b"2"])
        eventually(lambda: refusals, "a refusal", 150)
        broker.crown(queue)
        published.result()
    with consuming(settings, {queue: 5}, lambda d: d.ack()) as taken:
        publisher.publish(queue, b"after")
        eventually(lambda: b"after" in taken.bodies(), "the last message")
        assert sorted(taken.bodies()) == [b"1", b"2", b"after", b"before"]


def test_only_what_the_broker_refuses_is_sent_again(
    broker: RabbitMQ, publisher: Publisher, queue: str, refusals: list[int]
) -> None:
    """Half of a batch is refused: the half that was taken is not published twice."""
    publisher.publish(queue, b"declared")
    broker.clear(queue)
    with (
        amqp.Connection(broker.url.split("@")[1].rstrip("/")) as connection,
        ThreadPoolExecutor() as pool,
    ):
        channel = connection.channel()
        limits = {"x-max-length": 1, "x-overflow": "reject-publish"}
        channel.queue_declare(queue, durable=True, auto_delete=False, arguments=limits)
        published = pool.submit(publisher.publish_many, queue, [b"first", b"second"])
        eventually(lambda: len(refusals) > 1, "two refusals")
        assert channel.basic_get(queue, no_ack=True).body == "first"
        published.result()
        assert channel.basic_get(queue, no_ack=True).body == "second"
    broker.clear(queue)


def test_a_consumer_hands_over_nothing_before_it_has_all_its_queues(
    broker: RabbitMQ, settings: Settings, publisher: Publisher, queue: str
) -> None:
    """Else what one queue gave would be lost with the connection that another one ends,
    and given again each time.
    """
    bulk = f"{queue}.bulk"
    publisher.publish(bulk, b"2")
    broker.behead(bulk)
    publisher.publish(queue, b"1")
    with (
        consuming(settings, {queue: 5, bulk: 5}, lambda d: d.ack()) as taken,
        capture_logs() as logs,
    ):
        eventually(
            lambda: sum(line["event"] == "broker.lost" for line in logs) > 2,
            "three lost connections",
        )
        broker.crown(bulk)
        taken.take(2)
        publisher.publish(queue, b"3")
        assert sorted(d.body for d in taken.take(3)) == [b"1", b"2", b"3"]


def test_the_backlog_of_a_queue_that_does_not_answer_is_not_0(
    broker: RabbitMQ, settings: Settings, publisher: Publisher
) -> None:
    """Who takes 0 for an answer publishes again everything that waits."""
    before = backlog(settings)[LOG]
    publisher.publish(LOG, b"{}")
    broker.behead(LOG)
    try:
        with pytest.raises(BrokerUnavailable):
            backlog(settings)
    finally:
        broker.crown(LOG)

    def told() -> bool:
        try:
            return backlog(settings)[LOG].ready == before.ready + 1
        except BrokerUnavailable:
            return False

    eventually(told, "the backlog")
    with consuming(settings, {LOG: 5}, lambda d: d.ack()) as taken:
        taken.take(1)
