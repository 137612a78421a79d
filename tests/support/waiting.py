"""Waiting for what comes by itself: a condition that is asked again until it holds,
never a sleep that hopes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")
LONGEST_PAUSE_S = 0.2
"""Many tests wait at once: what takes seconds is asked for less often, or the asking
would be the machine's work.
"""


def eventually(holds: Callable[[], T], what: str, within_s: float = 60.0) -> T:
    """The first truthy answer of `holds`; the test fails when `what` has not come
    within `within_s` seconds.

    The bound is for a machine on which everything else runs, too: it ends a test that
    would hang, and judges no speed.
    """
    ends_s, pause_s = time.monotonic() + within_s, 0.01
    while not (answer := holds()):
        if time.monotonic() >= ends_s:
            pytest.fail(f"never came within {within_s:g} s: {what}")
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.2, LONGEST_PAUSE_S)
    return answer
