"""A worker waits for a service that is away, and not for one object that a store does
not give.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from time import sleep

import pytest

from gpu_worker.pipeline import retrying
from gpu_worker.pipeline.retrying import (
    HUNG_S,
    TRIES,
    Circuit,
    RetryingPublisher,
    RetryingStore,
)
from shared.errors import (
    BrokerUnavailable,
    Code,
    NotFound,
    ObjectRefused,
    ObjectUnreadable,
    ObjectUnwritable,
    StorageUnavailable,
)
from shared.runtime.retry import RetryPolicy
from tests.support.fake_clock import FakeClock
from tests.support.memory_publisher import MemoryPublisher
from tests.support.memory_store import MemoryStore
from tests.support.waiting import eventually

BAD = ObjectUnreadable("this one")
UNWANTED = ObjectUnwritable("this one")
AWAY = StorageUnavailable("all")


class Stop(threading.Event):
    """Never set. A wait takes no time but the clock's; the waits are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        self.clock.advance((timeout or 0.0) + 0.001)  # it counts in whole microseconds
        return False


class Service:
    """Answers each request with the next of `answers`: an error is raised; without any
    more all is well.
    """

    def __init__(self) -> None:
        self.answers: list[Exception] = []
        self.requests = 0
        self.before: Callable[[], object] = lambda: None

    def read(self) -> bytes:
        self.requests += 1
        self.before()
        if self.answers:
            raise self.answers.pop(0)
        return b"data"


def circuit_with(stop: Stop) -> Circuit:
    return Circuit(stop, stop.clock.monotonic)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.mark.parametrize("refusal", [BAD, UNWANTED])
def test_one_object_is_tried_a_few_times(
    service: Service, refusal: ObjectRefused
) -> None:
    stop = Stop()
    circuit = circuit_with(stop)
    service.answers = [refusal] * (TRIES + 1)
    with pytest.raises(ObjectRefused):
        circuit.call(service.read)
    assert (service.requests, len(stop.waits)) == (TRIES, TRIES - 1)
    service.answers.clear()
    assert circuit.call(service.read) == b"data"
    # The circuit is closed: no other thread has to wait.
    assert len(stop.waits) == TRIES - 1


def test_a_connection_that_broke_by_chance_is_no_bad_object(service: Service) -> None:
    service.answers = [BAD] * (TRIES - 1)
    assert circuit_with(Stop()).call(service.read) == b"data"


def test_an_object_for_which_the_store_hangs_is_requested_once(
    service: Service,
) -> None:
    stop = Stop()
    service.before = lambda: stop.clock.advance(HUNG_S + 1)
    service.answers = [BAD] * TRIES
    with pytest.raises(ObjectUnreadable):
        circuit_with(stop).call(service.read)
    assert service.requests == 1


def test_a_store_that_is_away_is_waited_for(service: Service) -> None:
    """However often it is tried; what is bad afterwards still has all its tries."""
    service.answers = [AWAY] * 20 + [BAD] * TRIES
    with pytest.raises(ObjectUnreadable):
        circuit_with(Stop()).call(service.read)
    assert service.requests == 20 + TRIES


class SharedService:
    """Away until the test says otherwise; knows how many requests were in it at once."""

    def __init__(self) -> None:
        self.is_away = True
        self.requests = 0
        self.inside = 0
        self.most_inside = 0
        self._lock = threading.Lock()

    def read(self) -> str:
        with self._lock:
            self.requests += 1
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
        sleep(0.002)  # long enough for others to come in, if they may
        with self._lock:
            self.inside -= 1
        if self.is_away:
            raise StorageUnavailable("away")
        return "answer"

    def head(self) -> None:
        raise NotFound(Code.SOURCE_MISSING, "nothing there")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of milliseconds."""
    monkeypatch.setattr(retrying, "POLICY", RetryPolicy(0.01, 0.02))


@pytest.mark.usefixtures("quick")
def test_one_thread_at_a_time_asks_a_service_that_is_away() -> None:
    """Once it was found away one probe is in it at a time; all eight threads get their
    answer in the end.
    """
    service, answers = SharedService(), list[str]()
    circuit = Circuit(threading.Event())
    with pytest.raises(NotFound):  # an answer, if not the one hoped for
        circuit.call(service.head)
    threads = [
        threading.Thread(target=lambda: answers.append(circuit.call(service.read)))
        for _ in range(8)
    ]
    threads[0].start()
    # By now no request can still be on its way from before the outage.
    eventually(lambda: service.requests >= 2, "a probe")
    for thread in threads[1:]:
        thread.start()
    before = service.requests
    eventually(lambda: service.requests >= before + 20, "further probes")
    assert service.most_inside == 1
    service.is_away = False
    for thread in threads:
        thread.join(60)
    assert answers == ["answer"] * 8


class FullStore(MemoryStore):
    """Takes no object while it is full."""

    def __init__(self) -> None:
        super().__init__()
        self.is_full = False
        self.refused = 0

    def put_new(self, *args: object, **kwargs: object) -> bool:
        if self.is_full:
            self.refused += 1
            raise StorageUnavailable("full")
        return super().put_new(*args, **kwargs)  # type: ignore[arg-type]


@pytest.mark.usefixtures("quick")
def test_a_full_store_is_still_read_from() -> None:
    """Writes wait for room. Reads go on meanwhile, and say nothing of the writes."""
    store, written = FullStore(), list[bool]()
    retrying_store = RetryingStore(store, threading.Event())
    store.put("results", "there", b"data", "text/plain")
    store.is_full = True

    def write() -> None:
        written.append(retrying_store.put_new("results", "new", b"", "text/plain"))

    writer = threading.Thread(target=write)
    writer.start()
    eventually(lambda: store.refused >= 3, "three tries")
    for _ in range(5):
        assert retrying_store.read("results", "there") == b"data"
    assert written == []
    store.is_full = False
    writer.join(60)
    assert written == [True]


class CountingPublisher(MemoryPublisher):
    """Counts what it is given, taken or not."""

    tries = 0

    def publish(
        self, queue: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        self.tries += 1
        super().publish(queue, body, headers)


@pytest.mark.usefixtures("quick")
def test_a_message_is_sent_when_the_broker_is_back() -> None:
    publisher = CountingPublisher()
    publisher.refused = {"q"}
    retrying_publisher = RetryingPublisher(publisher, threading.Event())
    sender = threading.Thread(target=retrying_publisher.publish, args=("q", b"m"))
    sender.start()
    eventually(lambda: publisher.tries >= 3, "three tries")
    publisher.refused = set()
    sender.join(60)
    assert publisher.bodies("q") == [b"m"]


@pytest.mark.usefixtures("quick")
def test_a_thread_that_leaves_does_not_wait() -> None:
    """With `stop` set the outage is raised, in the thread that asked and in those that
    waited for its probe.
    """
    stop, raised = threading.Event(), list[Exception]()
    circuit, service = Circuit(stop), SharedService()

    def read() -> None:
        try:
            circuit.call(service.read)
        except (StorageUnavailable, BrokerUnavailable) as error:
            raised.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    stop.set()
    for thread in threads:
        thread.join(60)
    assert [str(error) for error in raised] == ["storage_unavailable: away"] * 4
