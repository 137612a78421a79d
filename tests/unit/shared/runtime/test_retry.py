"""When to try again: the waits of a policy, and the loop over attempts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.runtime.retry import RetryPolicy, retrying


@given(st.integers(1, 9), st.floats(0, 0.999))
def test_a_wait_doubles_up_to_its_cap_and_ends_with_the_attempts(
    attempt: int, chance: float
) -> None:
    policy = RetryPolicy(base_s=2, cap_s=60, max_attempts=5)
    delay_s = policy.delay_s(attempt, chance)
    if attempt >= 5:
        assert delay_s is None
    else:
        longest_s = min(60, 2 * 2 ** (attempt - 1))
        assert delay_s is not None
        assert longest_s / 2 <= delay_s <= longest_s


def test_a_wait_is_its_cap_however_many_attempts_there_were() -> None:
    """An outage of hours: the exponent must not outgrow a float."""
    policy = RetryPolicy(base_s=0.5, cap_s=15)
    assert policy.delay_s(5_000, chance=1) == 15
    assert not policy.is_last(5_000)


def test_attempts_end_with_the_policy_and_wait_between_them() -> None:
    waits: list[float] = []
    attempts = list(retrying(RetryPolicy(2, 60, max_attempts=3), waits.append))
    assert [attempt.number for attempt in attempts] == [1, 2, 3]
    assert [attempt.is_last for attempt in attempts] == [False, False, True]
    assert waits == [attempt.wait_s for attempt in attempts[:2]]


@pytest.mark.parametrize("stopped_after", [1, 4])
def test_a_pause_that_is_interrupted_ends_the_attempts(stopped_after: int) -> None:
    waits: list[float] = []

    def pause(seconds: float) -> bool:
        waits.append(seconds)
        return len(waits) == stopped_after

    attempts = list(retrying(RetryPolicy(2, 60), pause))
    assert len(attempts) == stopped_after
