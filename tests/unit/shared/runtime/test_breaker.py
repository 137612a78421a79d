"""The circuit breaker."""

from __future__ import annotations

import pytest

from shared.runtime.breaker import PROBE_S, Breaker
from shared.runtime.retry import RetryPolicy
from tests.support.fake_clock import FakeClock

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
