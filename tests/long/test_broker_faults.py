"""One suite over every broker, part three: the broker is away, frozen, restarted, or
has forgotten everything.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from shared.broker.publisher import Publisher
from shared.broker.topology import dead_queue
from shared.errors import BrokerUnavailable
from shared.runtime.settings import Settings
from tests.support.brokers import Broker, dead_port
from tests.support.harness import consuming
from tests.support.waiting import eventually


@pytest.fixture
def publisher(settings: Settings) -> Iterator[Publisher]:
    made = Publisher(settings)
    yield made
    made.close()


def published(publisher: Publisher, queue: str, body: bytes) -> bool:
    try:
        publisher.publish(queue, body)
    except BrokerUnavailable:
        return False
    return True


def test_publishing_without_a_broker_raises_in_time(broker: Broker, queue: str) -> None:
    """Nobody listens: `BrokerUnavailable`, not a hang, and no password in it."""
    with dead_port() as port, pytest.raises(BrokerUnavailable) as caught:
        Publisher(
            Settings(broker_url=broker.url_at(port), publish_timeout_s=4)
        ).publish(queue, b"{}")
    assert "guest:guest" not in str(caught.value)


def test_a_frozen_broker_is_noticed_by_both_sides(
    broker: Broker, settings: Settings, hasty: Settings, queue: str
) -> None:
    """The publisher raises within its limit and works again afterwards; the consumer's
    silence shows, then ends.
    """
    publisher = Publisher(hasty)
    eventually(lambda: published(publisher, queue, b"before"), "a message before")
    with consuming(settings, {queue: 5}, lambda d: d.ack()) as taken:
        taken.take(1)
        broker.freeze()
        try:
            start = time.monotonic()
            with pytest.raises(BrokerUnavailable):
                publisher.publish(queue, b"frozen")
            # the limit is 4 s; this tells it from a hang
            assert time.monotonic() - start < 30
            eventually(lambda: taken.consumer.silent_s() > 2, "the silence")
        finally:
            broker.thaw()
        eventually(lambda: published(publisher, queue, b"after"), "a message is taken")
        eventually(lambda: b"after" in taken.bodies(), "the message after the thaw")
        eventually(lambda: taken.consumer.silent_s() < 1.5, "the end of the silence")
    publisher.close()


def test_a_restarted_broker_has_lost_nothing_confirmed(
    broker: Broker,
    settings: Settings,
    publisher: Publisher,
    queue: str,
    request: pytest.FixtureRequest,
) -> None:
    """kill -9 of the broker under load: what was confirmed arrives, the consumer
    reconnects by itself, and settling what an earlier connection delivered is harmless.
    """
    if not broker.remembers:
        request.applymarker(
            pytest.mark.xfail(
                strict=True, reason="moto keeps queues and messages in memory"
            )
        )
    patience_s = 120 if broker.remembers else 1
    confirmed = {b"held"}
    publisher.publish(queue, b"held")
    with consuming(
        settings, {queue: 50}, lambda d: d.ack() if d.body != b"held" else None
    ) as taken:
        held = taken.take(1)[0]
        for number in range(40):
            publisher.publish(queue, str(number).encode())
            confirmed.add(str(number).encode())
        broker.kill()
        with pytest.raises(BrokerUnavailable):
            publisher.publish(queue, b"while it is away")
        broker.start()
        held.ack()
        eventually(
            lambda: published(publisher, queue, b"after"),
            "the broker takes messages again",
            patience_s,
        )
        eventually(
            lambda: confirmed | {b"after"} <= set(taken.bodies()),
            "everything confirmed",
        )
        for again in [d for d in taken.deliveries if d.body == b"held"]:
            again.ack()
    with consuming(settings, {queue: 50}, lambda d: d.ack()) as taken:
        publisher.publish(queue, b"last")
        eventually(lambda: b"last" in taken.bodies(), "the last message")
        assert b"held" not in taken.bodies()


def test_a_broker_that_forgot_everything_takes_messages_again(
    broker: Broker, settings: Settings, publisher: Publisher, queue: str
) -> None:
    """Its data are gone while publisher and consumer stay connected: what is published
    then arrives.
    """
    publisher.publish(queue, b"before")
    with (
        consuming(settings, {queue: 5}, lambda d: d.ack()) as taken,
        capture_logs() as logs,
    ):
        taken.take(1)
        broker.forget(queue)
        if broker.tells:
            eventually(
                lambda: any(line["event"] == "broker.lost" for line in logs),
                "the consumer hears of it",
            )
        publisher.publish(queue, b"after")
        eventually(lambda: b"after" in taken.bodies(), "the message after the loss")


def test_a_reason_that_cannot_be_written_keeps_the_message(
    broker: Broker, settings: Settings, publisher: Publisher, queue: str
) -> None:
    """The `.dead` queue refuses: the message is not acknowledged, and is set aside once
    the queue takes it.
    """
    publisher.publish(queue, b"bad")
    with consuming(settings, {queue: 1}) as taken, capture_logs() as logs:
        bad = taken.take(1)[0]
        broker.obstruct(dead_queue(queue))
        bad.dead("bad_message", "no")
        eventually(
            lambda: any(line["event"] == "broker.lost" for line in logs), "a refusal"
        )
        broker.clear(dead_queue(queue))
        with consuming(
            settings, {dead_queue(queue): 1}, lambda d: d.ack()
        ) as dead_letters:

            def set_aside() -> bool:
                # with some brokers it comes again
                for delivery in list(taken.deliveries):
                    delivery.dead("bad_message", "no")
                return dead_letters.bodies()[:1] == [b"bad"]

            eventually(set_aside, "the message among the dead")
