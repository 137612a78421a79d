"""The circuit breaker, and the worker's patience on top of it."""

from __future__ import annotations

import threading
from time import sleep

import pytest

from gpu_worker.pipeline import retrying
from gpu_worker.pipeline.retrying import Patient
from shared.errors import BrokerUnavailable, Code, NotFound, StorageUnavailable
from shared.runtime.breaker import PROBE_S, Breaker
from shared.runtime.retry import RetryPolicy
from tests.support.fakes import FakeClock
from tests.support.waiting import eventually

POLICY = RetryPolicy(base_s=4, cap_s=20)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_failures_in_a_row_open_it(clock: FakeClock) -> None:
    """An answer between them counts from nothing again."""
    breaker = Breaker(POLICY, 3, clock.monotonic)
    for outcome in (
        breaker.failed,
        breaker.failed,
        breaker.answered,
        breaker.failed,
        breaker.failed,
    ):
        assert breaker.admit() == 0
        outcome()
    assert breaker.admit() == 0
    assert 2 <= breaker.failed() <= 4
    assert 2 <= breaker.admit() <= 4


def test_one_probe_at_a_time_and_its_outcome_decides(clock: FakeClock) -> None:
    """Half open: the first that asks is admitted, everybody else waits for it; a
    failure opens it for longer.
    """
    breaker = Breaker(POLICY, 1, clock.monotonic)
    breaker.failed()
    clock.advance(4)
    assert [breaker.admit() for _ in range(4)] == [0, PROBE_S, PROBE_S, PROBE_S]
    assert 4 <= breaker.failed() <= 8
    clock.advance(8)
    assert breaker.admit() == 0
    assert breaker.answered()
    assert [breaker.admit() for _ in range(4)] == [0, 0, 0, 0]
    assert not breaker.answered()


def test_calls_that_were_under_way_do_not_open_it_for_longer(clock: FakeClock) -> None:
    """Eight threads that fail at once are one outage; the wait has a ceiling."""
    breaker = Breaker(POLICY, 1, clock.monotonic)
    assert all(breaker.failed() <= 4 for _ in range(8))
    for _ in range(20):
        clock.advance(20)
        assert breaker.admit() == 0
        assert breaker.failed() <= 20


class Service:
    """Away until told otherwise; knows how many calls were in it at once."""

    def __init__(self) -> None:
        self.away = self.full = True
        self.calls = self.inside = self.most_inside = 0
        self._lock = threading.Lock()

    def _called(self, away: bool) -> str:
        with self._lock:
            self.calls, self.inside = self.calls + 1, self.inside + 1
            self.most_inside = max(self.most_inside, self.inside)
        sleep(0.002)  # long enough for others to come in, if they may
        with self._lock:
            self.inside -= 1
        if away:
            raise StorageUnavailable("away")
        return "answer"

    def read(self) -> str:
        return self._called(self.away)

    def put(self) -> str:
        return self._called(self.full)

    def head(self) -> None:
        raise NotFound(Code.SOURCE_MISSING, "nothing there")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of milliseconds."""
    monkeypatch.setattr(retrying, "POLICY", RetryPolicy(0.01, 0.02))


@pytest.mark.usefixtures("quick")
def test_one_thread_at_a_time_asks_a_service_that_is_away() -> None:
    """Eight threads want it: once it was found away one probe is in it at a time; all
    get their answer in the end.
    """
    service, answers = Service(), list[str]()
    patient = Patient(service, threading.Event())
    with pytest.raises(NotFound):  # an answer, if not the one hoped for
        patient.head()
    threads = [
        threading.Thread(target=lambda: answers.append(patient.read()))
        for _ in range(8)
    ]
    threads[0].start()
    # now nobody can still be on the way in from before the outage
    eventually(lambda: service.calls >= 2, "a probe")
    for thread in threads[1:]:
        thread.start()
    before = service.calls
    eventually(lambda: service.calls >= before + 20, "further probes")
    assert service.most_inside == 1
    service.away = False
    for thread in threads:
        thread.join(60)
    assert answers == ["answer"] * 8


@pytest.mark.usefixtures("quick")
def test_a_full_store_is_still_read_from() -> None:
    """Writes wait for room; what only reads goes on meanwhile, and does not take the
    store for well.
    """
    service, written = Service(), list[str]()
    service.away = False
    patient = Patient(service, threading.Event())
    writer = threading.Thread(target=lambda: written.append(patient.put()))
    writer.start()
    eventually(lambda: service.calls >= 3, "three tries")
    assert [patient.read() for _ in range(5)] == ["answer"] * 5
    assert written == []
    service.full = False
    writer.join(60)
    assert written == ["answer"]


@pytest.mark.usefixtures("quick")
def test_who_leaves_does_not_wait() -> None:
    """With `stop` set the outage is raised, by who asked and by who waited for the
    other's probe.
    """
    stop, raised = threading.Event(), list[BaseException]()
    patient = Patient(Service(), stop)

    def read() -> None:
        try:
            patient.read()
        except (StorageUnavailable, BrokerUnavailable) as error:
            raised.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    stop.set()
    for thread in threads:
        thread.join(60)
    assert [str(error) for error in raised] == ["storage_unavailable: away"] * 4
