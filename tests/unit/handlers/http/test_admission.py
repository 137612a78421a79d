"""A store or broker that is slow or away: the HTTP server answers quickly and piles
nothing up.
"""

from __future__ import annotations

import threading

import anyio
import pytest

from handlers.http.admission import AT_ONCE, WAITING, AdmissionControl
from handlers.http.circuit import CircuitBreakingPublisher
from handlers.http.problems import Problem
from shared.errors import BrokerUnavailable, MessageError, StorageUnavailable
from shared.runtime.breaker import Breaker
from shared.runtime.retry import RetryPolicy
from tests.support.fake_clock import FakeClock
from tests.support.memory_publisher import MemoryPublisher

POLICY = RetryPolicy(base_s=4, cap_s=8)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def away() -> str:
    raise StorageUnavailable("away")


def unreadable() -> str:
    raise MessageError("no notification")


def test_a_store_that_is_away_is_asked_by_one_request_at_a_time(
    clock: FakeClock,
) -> None:
    """After three failures every request is refused at once, with a time; a probe that
    succeeds closes the circuit.
    """
    calls: list[int] = []

    def counted() -> str:
        calls.append(1)
        return away()

    async def scenario() -> None:
        admission = AdmissionControl(circuit=Breaker(POLICY, 3, clock.monotonic))
        for _ in range(3):
            with pytest.raises(StorageUnavailable):
                await admission.run(counted)
        for _ in range(20):
            with pytest.raises(Problem) as refused:
                await admission.run(counted)
            assert (refused.value.status, refused.value.code) == (
                503,
                "storage_unavailable",
            )
            assert 1 <= int(refused.value.headers["Retry-After"]) <= 4
        assert len(calls) == 3
        clock.advance(4)
        assert await admission.run(lambda: "answer") == "answer"
        assert await admission.run(lambda: "answer") == "answer"

    anyio.run(scenario)


def test_a_notification_that_cannot_be_read_says_nothing_about_the_store(
    clock: FakeClock,
) -> None:
    """It is an answer: failures before it do not count any more."""

    async def scenario() -> None:
        admission = AdmissionControl(circuit=Breaker(POLICY, 2, clock.monotonic))
        for work, error in (
            (away, StorageUnavailable),
            (unreadable, MessageError),
            (away, StorageUnavailable),
        ):
            with pytest.raises(error):
                await admission.run(work)
        assert await admission.run(lambda: "answer") == "answer"

    anyio.run(scenario)


def test_a_store_that_hangs_ties_up_few_threads_and_few_requests() -> None:
    """All threads hang: some wait for their turn, not for long; everybody else is
    refused at once; then it goes on.
    """
    release, answers, refusals = threading.Event(), list[str](), list[Problem]()

    async def request(admission: AdmissionControl) -> None:
        try:
            answers.append(
                await admission.run(lambda: "done" if release.wait() else "never")
            )
        except Problem as refused:
            refusals.append(refused)

    async def scenario() -> None:
        admission = AdmissionControl(wait_s=0.05)
        async with anyio.create_task_group() as group:
            for _ in range(AT_ONCE + WAITING + 30):
                group.start_soon(request, admission)
            try:
                with anyio.fail_after(60):
                    while len(refusals) < WAITING + 30:
                        await anyio.sleep(0.01)
                assert answers == []
            finally:
                release.set()
        assert answers == ["done"] * AT_ONCE
        assert {(refused.status, refused.code) for refused in refusals} == {
            (503, "busy")
        }
        assert all(refused.headers["Retry-After"].isdigit() for refused in refusals)
        assert await admission.run(lambda: "again") == "again"

    anyio.run(scenario)


class Broker(MemoryPublisher):
    """Counts its calls."""

    calls = 0

    def publish(self, queue: str, body: bytes, headers: object = None) -> None:
        self.calls += 1
        super().publish(queue, body)


def test_a_broker_that_is_away_delays_no_upload(clock: FakeClock) -> None:
    """One failure, and the next uploads do not ask; after a while one does, and finds
    it back.
    """
    broker = Broker()
    publisher = CircuitBreakingPublisher(broker, Breaker(POLICY, 1, clock.monotonic))
    broker.refused = {"q"}
    for _ in range(10):
        with pytest.raises(BrokerUnavailable):
            publisher.publish("q", b"x")
    with pytest.raises(BrokerUnavailable):
        publisher.publish_many("q", [b"x"])
    assert broker.calls == 1
    clock.advance(4)
    broker.refused = set()
    publisher.publish("q", b"x")
    publisher.publish_many("q", [b"y", b"z"])
    assert broker.bodies("q") == [b"x", b"y", b"z"]
