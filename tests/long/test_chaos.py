"""The bounded form of `make chaos`: every kind of process dies, every service is away
once, and nothing is lost.
"""

from __future__ import annotations

import pytest

from tests.chaos import faults
from tests.chaos.__main__ import line, state_folder
from tests.chaos.run import run, schedule, shares

UPLOADS, SEED = 48, 7
KINDS = (
    "kill worker",
    "kill handlers",
    "kill recorder",
    "kill sweep",
    "worker.after_result",
    "worker.before_ack",
    "handler.before_publish",
    "recorder.before_commit",
    "restart broker",
    "wipe broker",
    "freeze database",
    "drop notifications",
    "repeat notifications",
    "delay notifications",
    "slow store",
    "garbage messages",
)


@pytest.mark.timeout(1200)  # a minute on an idle machine; no wait within it is endless
def test_nothing_is_lost_and_nothing_is_done_twice() -> None:
    """One fault of each kind that takes seconds; the long ones are in `make chaos`. The
    ledger is printed.
    """
    with state_folder() as (folder, own_disk):
        kinds = {name: faults.ALWAYS[name] for name in KINDS} | (
            faults.ON_OWN_DISK if own_disk else {}
        )
        verdict = run(
            folder,
            SEED,
            shares(UPLOADS, schedule(len(kinds), SEED, kinds)),
            kinds,
            print,
        )
    print(line(verdict))
    print({name: found for name, found in verdict.faults.items() if found})
    assert verdict.good
    assert set(verdict.injected) == set(kinds)
    assert verdict.pixels_compared > UPLOADS / 2


def test_the_same_seed_gives_the_same_faults() -> None:
    kinds = faults.ALWAYS | faults.LONG
    assert schedule(60, 5, kinds) == schedule(60, 5, kinds) != schedule(60, 6, kinds)
    assert set(schedule(60, 5, kinds)) == set(kinds)
