"""`python -m tests.chaos.mutants`: break Darkroom in eight ways; its tests must notice
each.

A test that stays green whatever the code does proves nothing. Prints `killed 8/8
mutants`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / "mutation"
MUTANTS = {
    "early_ack": "tests/contract/test_broker_leases.py::test_stop_gives_back_at_once_and_in_order",
    "no_condition": "tests/contract/test_storage.py::test_only_the_first_of_many_writers_wins",
    "no_counter": "tests/unit/shared/uploads/test_claims.py",
    "named_exchange": "tests/long/test_broker_faults.py::test_a_broker_that_forgot_everything_takes_messages_again",
    "no_confirm": "tests/long/test_broker_faults.py::test_a_frozen_broker_is_noticed_by_both_sides",
    "no_sweep": "tests/contract/test_reconcile.py",
    "no_lease_beat": "tests/contract/test_broker_leases.py::test_a_long_job_is_not_delivered_twice",
    "no_on_conflict": "tests/contract/test_audit_log.py::test_a_repeated_fact_changes_nothing",
}
"""What is broken (`mutation/sitecustomize.py`) → the tests that must fail then."""
ON = {
    "no_confirm": "amqp",
    "early_ack": "redis",
    "named_exchange": "redis",
    "no_lease_beat": "redis",
}
"""Where one broker is enough, and which."""
FAILED = 1


def status(tests: str, only: str, mutant: str | None) -> int:
    """pytest's exit status."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        tests,
        "-k",
        only,
    ]
    path = (
        {"PYTHONPATH": str(FOLDER), "DARKROOM_CHAOS_MUTANT": mutant} if mutant else {}
    )
    return subprocess.run(
        command, env=os.environ | path, capture_output=True, check=False, timeout=300
    ).returncode


def main() -> int:
    killed = 0
    for mutant, tests in MUTANTS.items():
        only = ON.get(mutant, "")
        sound, broken = status(tests, only, None), status(tests, only, mutant)
        seen = sound == 0 and broken == FAILED
        killed += seen
        print(
            f"{mutant:16} {'killed' if seen else 'SURVIVED'}  tests end with {sound} without it, {broken} with it"
        )
    print(f"killed {killed}/{len(MUTANTS)} mutants")
    return 0 if killed == len(MUTANTS) else 1


if __name__ == "__main__":
    sys.exit(main())
