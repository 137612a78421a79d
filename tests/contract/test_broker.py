"""One suite over every broker, part one: messages. What passes here may be relied on,
whatever the broker.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import kombu
import pytest

from shared.broker.consumer import Delivery
from shared.broker.depth import backlog, depth
from shared.broker.oldest import OldestMessages
from shared.broker.publisher import Publisher
from shared.broker.topology import ALL, BULK, LOG, dead_queue
from shared.broker.transports import connected
from shared.runtime.settings import Settings
from tests.support.harness import consuming
from tests.support.waiting import eventually

BODIES = [
    b'{"v":1}',
    '{"name":"照片 é 🖼️"}'.encode(),
    b"\xff\xfe\x00\x01{ not UTF-8",
    b"",
    b'{\n "redelivered": true, "v": 1\r\n}\n',
    b"cGxhaW4gYmFzZTY0",
    b'{"x":"' + b"y" * 2040 + b'"}',
    b"z" * 65_536,
]


@pytest.fixture
def publisher(settings: Settings) -> Iterator[Publisher]:
    made = Publisher(settings)
    yield made
    made.close()


def ack(delivery: Delivery) -> None:
    delivery.ack()


def test_messages_come_in_the_order_they_were_published(
    settings: Settings, publisher: Publisher, queue: str
) -> None:
    """One publisher, one consumer, nothing redelivered: first in, first out."""
    sent = [str(n).encode() for n in range(50)]
    for body in sent:
        publisher.publish(queue, body)
    with consuming(settings, {queue: 7}, ack) as taken:
        assert [d.body for d in taken.take(50)] == sent


def test_bytes_arrive_unchanged(
    settings: Settings, publisher: Publisher, queue: str
) -> None:
    """A body is bytes to the broker, whatever they are."""
    for body in BODIES:
        publisher.publish(queue, body)
    with consuming(settings, {queue: 1}, ack) as taken:
        deliveries = taken.take(len(BODIES))
        assert [d.body for d in deliveries] == BODIES
        assert {(d.queue, d.redelivered) for d in deliveries} == {(queue, False)}


def test_headers_make_the_round_trip(
    settings: Settings, publisher: Publisher, queue: str
) -> None:
    """Names and values come back as they were, beyond ASCII too."""
    headers = {"trace": "00-4bf92f3577b34da6a3ce929d0e0e4736-01", "note": "é 🖼️"}
    publisher.publish(queue, b"{}", headers)
    with consuming(settings, {queue: 1}, ack) as taken:
        got = taken.take(1)[0].headers
        assert {name: got[name] for name in headers} == headers


def test_the_oldest_message_says_when_it_was_sent(
    settings: Settings, publisher: Publisher, queue: str
) -> None:
    """It is looked at where it lies, and delivered afterwards as ever. SQS shows nobody
    a message without delivering it.
    """
    for body in (b"first", b"second"):
        publisher.publish(queue, body)
    now = datetime.now(UTC)
    with connected(settings) as (transport, channel):
        ages = OldestMessages().ages_s(transport, channel, {queue: 2}, now)
    if "sqs" not in settings.broker_url.get_secret_value():
        assert 0 <= ages[queue] < 60
    with consuming(settings, {queue: 1}, ack) as taken:
        assert [d.body for d in taken.take(2)] == [b"first", b"second"]


def test_a_batch_is_published_whole_and_in_order(
    settings: Settings,
    publisher: Publisher,
    queue: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`publish_many` of several batches loses, repeats and reorders nothing."""
    monkeypatch.setattr("shared.broker.publisher.BATCH", 20)
    sent = [str(n).encode() for n in range(50)]
    publisher.publish_many(queue, iter(sent))
    with consuming(settings, {queue: 30}, ack) as taken:
        assert [d.body for d in taken.take(50)] == sent


def test_a_publisher_serves_many_threads(
    settings: Settings, publisher: Publisher, queue: str
) -> None:
    """Eight threads share one publisher; every message arrives once."""
    sent = {str(n).encode() for n in range(80)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda body: publisher.publish(queue, body), sent))
    with consuming(settings, {queue: 100}, ack) as taken:
        got = [d.body for d in taken.take(80)]
    assert set(got) == sent
    assert len(got) == 80


def test_messages_of_other_kombu_clients_are_read(
    settings: Settings, publisher: Publisher, queue: str
) -> None:
    """Anything that kombu can publish is delivered as the bytes it carries."""
    publisher.publish(queue, b"ours")  # declares the queue
    with kombu.Connection(settings.broker_url.get_secret_value()) as connection:
        kombu.Producer(connection).publish(
            {"a": 1}, routing_key=queue, serializer="json", headers={"h": 1}
        )
    with consuming(settings, {queue: 5}, ack) as taken:
        theirs = taken.take(2)[1]
        assert theirs.body == b'{"a": 1}'
        assert theirs.headers["h"] == 1


def test_what_was_acknowledged_does_not_come_again(
    settings: Settings, publisher: Publisher, queue: str
) -> None:
    """Acknowledgements requested just before the stop are carried out; RabbitMQ works
    off only 32 at a time.
    """
    for _ in range(2):
        publisher.publish_many(queue, [b"done"] * 60)
        with consuming(settings, {queue: 60}) as taken:
            for delivery in taken.take(60):
                delivery.ack()
        publisher.publish(queue, b"next")
        with consuming(settings, {queue: 60}, ack) as taken:
            assert [d.body for d in taken.take(1)] == [b"next"]


def test_any_thread_may_acknowledge_and_more_than_once(
    settings: Settings, publisher: Publisher, queue: str
) -> None:
    """Settling from many threads at once settles once, and the next message follows."""
    publisher.publish_many(queue, [b"1", b"2"])
    with consuming(settings, {queue: 1}) as taken:
        first = taken.take(1)[0]
        threads = [threading.Thread(target=first.ack) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        first.ack()
        second = taken.take(2)[1]
        first.ack()
        second.ack()
    with consuming(settings, {queue: 1}, ack) as taken:
        publisher.publish(queue, b"3")
        assert taken.take(1)[0].body == b"3"


def test_prefetch_bounds_what_is_in_hand(
    settings: Settings, publisher: Publisher, queue: str
) -> None:
    """With prefetch 3 a fourth message comes only after one was settled: a backlog is
    no load.
    """
    publisher.publish_many(queue, [str(n).encode() for n in range(10)])
    with consuming(settings, {queue: 3}) as taken:
        taken.take(3)[0].ack()
        taken.take(4)
        publisher.publish(queue, b"a round trip, in which a fifth would have come")
        assert len(taken.deliveries) == 4


def test_two_consumers_share_a_queue(
    settings: Settings, publisher: Publisher, queue: str
) -> None:
    """Each message goes to one of them, and neither starves while the other's hands are
    full.
    """
    publisher.publish_many(queue, [b"1", b"2", b"3", b"4"])
    with (
        consuming(settings, {queue: 2}) as one,
        consuming(settings, {queue: 2}) as other,
    ):
        one.take(2)
        other.take(2)
        assert sorted(one.bodies() + other.bodies()) == [b"1", b"2", b"3", b"4"]


def test_a_full_queue_does_not_hold_up_another(
    settings: Settings, publisher: Publisher, queue: str
) -> None:
    """Prefetch is per queue: interactive work is delivered while the hands are full of
    bulk work.
    """
    bulk, interactive = f"{queue}.bulk", f"{queue}.interactive"
    publisher.publish_many(bulk, [b"b"] * 10)
    with consuming(settings, {interactive: 1, bulk: 2}) as taken:
        taken.take(2)
        publisher.publish(interactive, b"i")
        assert taken.take(3)[2].queue == interactive


def test_a_dead_message_keeps_its_bytes_and_gets_a_reason(
    settings: Settings, publisher: Publisher, queue: str
) -> None:
    """`dead` moves a message to `.dead`, unchanged, with code, detail, queue and time;
    a later ack changes nothing.
    """
    body = b"\xffnot a message"
    publisher.publish(queue, body, {"trace": "t"})
    with consuming(settings, {queue: 1}) as taken:
        delivery = taken.take(1)[0]
        delivery.dead("bad_message", "not a RestoreTask: é")
        delivery.ack()
        publisher.publish(queue, b"next")
        assert taken.take(2)[1].body == b"next"
    with consuming(settings, {dead_queue(queue): 1}, ack) as taken:
        found = taken.take(1)[0]
        assert found.body == body
        reason = {
            "code": "bad_message",
            "detail": "not a RestoreTask: é",
            "queue": queue,
            "trace": "t",
        }
        assert {name: found.headers[name] for name in reason} == reason
        assert found.headers["at"].endswith("+00:00")


def test_a_backlog_is_what_is_ready_and_what_is_in_hand(
    settings: Settings, publisher: Publisher
) -> None:
    """Of each queue by itself; what is in hand is 0 where the broker does not tell."""
    before = backlog(settings)[LOG].ready
    publisher.publish_many(LOG, [b"1", b"2", b"3"])
    with consuming(settings, {LOG: 2}) as taken:
        taken.take(2)
        eventually(
            lambda: backlog(settings)[LOG].ready == before + 1, "one ready message"
        )
        tells = settings.broker_url.get_secret_value().startswith("redis")
        assert backlog(settings)[LOG].in_hand == (2 if tells else 0)
        assert backlog(settings)[BULK].in_hand == 0
    with consuming(settings, {LOG: 10}, ack) as taken:
        taken.take(3)
    eventually(lambda: backlog(settings)[LOG] == (before, 0), "nothing in hand")


def test_depth_counts_what_is_ready(settings: Settings, publisher: Publisher) -> None:
    """Every queue and every `.dead` is counted; what is in hand is not ready."""
    before = depth(settings)
    assert before.keys() - {"unacked"} == {n for q in ALL for n in (q, dead_queue(q))}
    publisher.publish_many(LOG, [b"1", b"2", b"3"])
    eventually(lambda: depth(settings)[LOG] == before[LOG] + 3, "three ready messages")
    with consuming(settings, {LOG: 2}) as taken:
        taken.take(2)
        eventually(lambda: depth(settings)[LOG] == before[LOG] + 1, "one ready message")
    with consuming(settings, {LOG: 10}, ack) as taken:
        taken.take(3)
    assert depth(settings)[LOG] == before[LOG]
