"""A worker waits for a store that is away, and not for one object that a store does not
give.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from gpu_worker.pipeline.retrying import HUNG_S, TRIES, Patient
from shared.errors import (
    ObjectRefused,
    ObjectUnreadable,
    ObjectUnwritable,
    StorageUnavailable,
)
from tests.support.fakes import FakeClock


class Stop(threading.Event):
    """Never set, and waited for in no time but the clock's; the waits are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        self.clock.advance((timeout or 0.0) + 0.001)  # it counts in whole microseconds
        return False


class Service:
    """Answers each call with the next of `answers`: an error is raised; without any
    more all is well.
    """

    def __init__(self) -> None:
        self.answers: list[Exception] = []
        self.asked = 0
        self.before: Callable[[], object] = lambda: None

    def read(self) -> bytes:
        self.asked += 1
        self.before()
        if self.answers:
            raise self.answers.pop(0)
        return b"data"

    put = read


def patient_with(service: Service, stop: Stop) -> Patient:
    return Patient(service, stop, stop.clock.monotonic)


BAD, UNWANTED, AWAY = (
    ObjectUnreadable("this one"),
    ObjectUnwritable("this one"),
    StorageUnavailable("all"),
)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.mark.parametrize(("call", "refusal"), [("read", BAD), ("put", UNWANTED)])
def test_one_object_is_tried_a_few_times(
    service: Service, call: str, refusal: ObjectRefused
) -> None:
    stop = Stop()
    patient = patient_with(service, stop)
    service.answers = [refusal] * (TRIES + 1)
    with pytest.raises(ObjectRefused):
        getattr(patient, call)()
    assert (service.asked, len(stop.waits)) == (TRIES, TRIES - 1)
    service.answers.clear()
    assert getattr(patient, call)() == b"data"
    # the circuit is closed: nobody else has to wait
    assert len(stop.waits) == TRIES - 1


def test_a_connection_that_broke_by_chance_is_no_bad_object(service: Service) -> None:
    service.answers = [BAD] * (TRIES - 1)
    assert patient_with(service, Stop()).read() == b"data"


def test_an_object_for_which_the_store_hangs_is_asked_for_once(
    service: Service,
) -> None:
    stop = Stop()
    service.before = lambda: stop.clock.advance(HUNG_S + 1)
    service.answers = [BAD] * TRIES
    with pytest.raises(ObjectUnreadable):
        patient_with(service, stop).read()
    assert service.asked == 1


def test_a_store_that_is_away_is_waited_for(service: Service) -> None:
    """However often it is asked; what is bad afterwards still has all its tries."""
    service.answers = [AWAY] * 20 + [BAD] * TRIES
    with pytest.raises(ObjectUnreadable):
        patient_with(service, Stop()).read()
    assert service.asked == 20 + TRIES
