"""One suite over every broker, part two: who holds a message, for how long, and who
gets it next.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shared.broker.publisher import Publisher
from shared.runtime.settings import Settings
from tests.support.brokers import Valkey
from tests.support.harness import Holder, consuming
from tests.support.waiting import eventually

LEASE_S = 5.0
"""Short, so that its end comes soon; a busy machine may let a holder wait for some
seconds all the same.
"""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"lease_s": LEASE_S})


@pytest.fixture
def publisher(settings: Settings) -> Iterator[Publisher]:
    made = Publisher(settings)
    yield made
    made.close()


@contextmanager
def traffic(settings: Settings, queue: str) -> Iterator[None]:
    """Keeps a queue busy: it is never empty for long, and never polled in vain."""
    stop = threading.Event()

    def publish() -> None:
        publisher = Publisher(settings)
        while not stop.wait(0.005):
            publisher.publish(queue, b"traffic")
        publisher.close()

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_killed_consumers_message_comes_again(
    settings: Settings, publisher: Publisher, queue: str
) -> None:
    """kill -9 of the holder: the next consumer gets the message, marked, also while the
    queue is never empty.
    """
    publisher.publish(queue, b"precious")
    with Holder(settings, queue) as holder:
        assert holder.taken() == "precious"
    with (
        traffic(settings, queue),
        consuming(settings, {queue: 10}, lambda d: d.ack()) as taken,
    ):
        eventually(
            lambda: b"precious" in taken.bodies(), "the killed consumer's message"
        )
        assert next(d for d in taken.deliveries if d.body == b"precious").redelivered


def test_a_long_job_is_not_delivered_twice(
    settings: Settings, publisher: Publisher, queue: str
) -> None:
    """Work of two and a half leases: nobody else gets its message, also while the queue
    is never empty.
    """
    publisher.publish(queue, b"long")
    with consuming(settings, {queue: 1}) as worker:
        job = worker.take(1)[0]
        with (
            traffic(settings, queue),
            consuming(settings, {queue: 10}, lambda d: d.ack()) as other,
        ):
            end = time.monotonic() + 2.5 * settings.lease_s
            eventually(lambda: time.monotonic() > end, "the end of the job")
            assert b"long" not in other.bodies()
            assert other.bodies()
        job.ack()
    with consuming(settings, {queue: 10}, lambda d: d.ack()) as later:
        publisher.publish(queue, b"last")
        eventually(lambda: b"last" in later.bodies(), "the last message")
        assert b"long" not in later.bodies()


def test_a_stuck_owner_loses_its_messages(
    settings: Settings, publisher: Publisher, queue: str
) -> None:
    """An owner that says it is not alive keeps nothing beyond a lease and gets nothing
    new until it lives again.
    """
    alive = threading.Event()
    alive.set()
    publisher.publish(queue, b"1")
    with consuming(settings, {queue: 1}, is_alive=alive.is_set) as stuck:
        lost = stuck.take(1)[0]
        alive.clear()
        with consuming(settings, {queue: 1}, lambda d: d.ack()) as other:
            assert other.take(1)[0].body == b"1"
        lost.ack()
        alive.set()
        publisher.publish(queue, b"2")
        assert stuck.take(2)[1].body == b"2"


def test_stop_gives_back_at_once_and_in_order(
    settings: Settings, publisher: Publisher, queue: str
) -> None:
    """What was prefetched and not settled is the next consumer's at once, before what
    was published later.
    """
    patient = settings.model_copy(update={"lease_s": 600.0})
    publisher.publish_many(queue, [b"1", b"2", b"3", b"4"])
    with consuming(patient, {queue: 3}) as taken:
        taken.take(3)[0].ack()
    with consuming(patient, {queue: 3}, lambda d: d.ack()) as taken:
        assert [d.body for d in taken.take(3)] == [b"2", b"3", b"4"]
        assert all(d.redelivered for d in taken.deliveries[:2])


class TestRedis:
    """Leases are our own work on this transport; elsewhere the broker's."""

    @pytest.fixture
    def settings(self, valkey: Valkey) -> Settings:
        return Settings(broker_url=valkey.url, lease_s=LEASE_S, publish_timeout_s=60)

    def test_nothing_is_lost_when_consumers_die_while_taking(
        self, settings: Settings, publisher: Publisher, queue: str
    ) -> None:
        """Three consumers are killed at arbitrary moments of taking a backlog: every
        message still arrives.
        """
        sent = {str(n) for n in range(100)}
        publisher.publish_many(queue, [body.encode() for body in sent])
        for _ in range(3):
            with Holder(settings, queue, prefetch=20) as holder:
                holder.taken()
        with consuming(settings, {queue: 50}, lambda d: d.ack()) as taken:
            eventually(
                lambda: {b.decode() for b in taken.bodies()} == sent, "every message"
            )

    def test_a_wrong_clock_gives_nothing_away(
        self, settings: Settings, publisher: Publisher, queue: str
    ) -> None:
        """A consumer whose clock is an hour ahead neither takes from others nor loses
        what it holds.
        """
        publisher.publish_many(queue, [b"1", b"2"])
        with (
            consuming(settings, {queue: 1}) as taken,
            Holder(settings, queue, skew_s=3600) as skewed,
        ):
            mine, theirs = taken.take(1)[0].body.decode(), skewed.taken()
            assert {mine, theirs} == {"1", "2"}
            with consuming(settings, {queue: 2}) as third:
                end = time.monotonic() + 1.5 * settings.lease_s
                eventually(lambda: time.monotonic() > end, "a lease and a half")
                assert third.bodies() == []

    def test_a_late_acknowledgement_does_not_touch_the_next_holder(
        self, settings: Settings, publisher: Publisher, queue: str, valkey: Valkey
    ) -> None:
        """A holder whose lease ran out unnoticed acknowledges: the message stays the
        next holder's.
        """
        publisher.publish(queue, b"1")
        with (
            consuming(
                settings.model_copy(update={"lease_s": 600.0}), {queue: 1}
            ) as late,
            valkey.client() as client,
        ):
            lost = late.take(1)[0]
            for tag in client.zrange("darkroom.leases.deadlines", 0, -1):
                client.zadd("darkroom.leases.deadlines", {tag: 0})
            with Holder(settings, queue) as next_holder:
                assert next_holder.taken() == "1"
                lost.ack()
                publisher.publish(queue, b"2")
                assert late.take(2)[1].body == b"2"  # so the acknowledgement is through
        with consuming(settings, {queue: 2}, lambda d: d.ack()) as last:
            assert {d.body for d in last.take(2)} == {b"1", b"2"}

    def test_an_entry_that_is_no_envelope_is_delivered_as_it_is(
        self, settings: Settings, publisher: Publisher, queue: str, valkey: Valkey
    ) -> None:
        """Bytes that a storage server pushed into the list by itself arrive as a body;
        the consumer lives on.
        """
        client = valkey.client()
        foreign = [
            b'{"Records":[]}',
            b"\xff\x00",
            b'{"body":1,"properties":[]}',
            b'{"body":"%","properties":{}}',
            b"7",
        ]
        client.lpush(queue, *foreign)
        publisher.publish(queue, b"ours")
        with consuming(settings, {queue: 10}, lambda d: d.ack()) as taken:
            assert [d.body for d in taken.take(6)] == [*foreign, b"ours"]
        client.close()

    def test_a_server_out_of_memory_loses_nothing(
        self, settings: Settings, publisher: Publisher, queue: str, valkey: Valkey
    ) -> None:
        """At its memory limit the server refuses what we publish, visibly, and what we
        take is not lost.
        """
        publisher.publish_many(queue, [str(n).encode() for n in range(20)])
        client = valkey.client()
        client.config_set("maxmemory", "1mb")
        try:
            with pytest.raises(Exception, match="memory"):
                publisher.publish(queue, b"refused")
            with Holder(settings, queue, prefetch=5) as holder:
                assert holder.taken() == "0"
        finally:
            client.config_set("maxmemory", "0")
            client.close()
        with consuming(settings, {queue: 30}, lambda d: d.ack()) as taken:
            taken.take(20)
            assert sorted(taken.bodies(), key=int) == [
                str(n).encode() for n in range(20)
            ]
