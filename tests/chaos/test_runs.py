"""The judge of second inferences: a forged history in which nothing explains one must
be red.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.chaos.runs import Deed, End, Kind, Run, explain, told

LEASE_S = 5.0


def at(seconds: float) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def run(pid: int, claimed: float, attempt: int = 1) -> Run:
    return Run(
        f"worker-{pid}", "task", "upload", attempt, pid, at(claimed), at(claimed + 0.1)
    )


def deed(kind: Kind, pid: int, since: float, until: float) -> Deed:
    return Deed(kind, pid, at(since), at(until))


FIRST, SECOND = run(1, 0), run(2, 10, 2)


@pytest.mark.parametrize(
    ("deeds", "reason"),
    [
        ([deed("kill", 1, 1, 1)], "kill"),
        ([deed("freeze", 1, 1, 9)], "freeze"),
        ([deed("stop", 1, 1, 11)], "stop"),
        ([deed("outage", 0, 1, 8)], "lease"),
        ([], None),
        ([deed("kill", 2, 1, 1)], None),  # another process
        ([deed("kill", 1, -5, -5)], None),  # before: another process of this pid
        ([deed("kill", 1, 11, 11)], None),  # too late to have been the cause
        ([deed("freeze", 1, 1, 1.2)], None),  # shorter than a lease is patient
        ([deed("outage", 0, 11, 12)], None),
        ([deed("outage", 0, -60, -30)], None),
    ],
)
def test_a_second_run_needs_a_fault_that_cut_the_first_one_off(
    deeds: list[Deed], reason: str | None
) -> None:
    why, unexplained = explain([FIRST, SECOND], [], deeds, {}, LEASE_S)
    assert dict(why) == ({reason: 1} if reason else {})
    assert [("pid 1" in each, "pid 2" in each) for each in unexplained] == (
        [] if reason else [(True, True)]
    )


def test_a_run_that_had_ended_was_not_cut_off() -> None:
    end = End("worker-1", "task.restored", "task", "upload", at(1))
    assert explain([FIRST, SECOND], [end], [deed("kill", 1, 2, 2)], {}, LEASE_S)[1]


def test_a_run_that_began_although_the_record_stood_is_never_explained() -> None:
    stored: dict[str, Any] = {
        "task": (SimpleNamespace(attempts=1, started_at=at(0)), at(3))
    }
    assert explain([FIRST, SECOND], [], [deed("kill", 1, 4, 4)], stored, LEASE_S)[1]


def test_a_try_that_was_given_up_needs_a_fault_too() -> None:
    end = End("worker-1", "task.retried", "task", "upload", at(1))
    assert explain([FIRST, SECOND], [end], [deed("outage", 0, 0, 1)], {}, LEASE_S)[
        0
    ] == {"retry": 1}
    assert explain([FIRST, SECOND], [end], [], {}, LEASE_S)[1]


def test_a_result_whose_run_nobody_tells_of_is_found() -> None:
    stored: dict[str, Any] = {
        "task": (SimpleNamespace(attempts=2, started_at=at(10)), at(11))
    }
    assert explain([FIRST], [], [], stored, LEASE_S)[1]
    assert not explain([SECOND], [], [], stored, LEASE_S)[1]


def test_runs_are_read_from_the_workers_logs(tmp_path: Path) -> None:
    begun = {
        "event": "task.begun",
        "task_id": "task",
        "upload_id": "upload",
        "attempt": 2,
        "pid": 2,
        "claimed_at": at(10).isoformat(),
        "timestamp": at(10.1).isoformat(),
    }
    ended = {
        "event": "task.restored",
        "task_id": "task",
        "upload_id": "upload",
        "timestamp": at(11).isoformat(),
    }
    (tmp_path / "worker-2.log").write_text(
        f'{json.dumps(begun)}\nno JSON\n{json.dumps(ended)}\n{{"event": "task.be'
    )
    assert told(tmp_path) == (
        [SECOND],
        [End("worker-2", "task.restored", "task", "upload", at(11))],
    )


def test_a_worker_whose_log_has_no_room_works_on() -> None:
    """Chaos keeps the workers' logs off the disk that it fills; this is what it would
    find there.
    """
    code = (
        "from shared.runtime import telemetry; from shared.runtime.settings import Settings; "
        "telemetry.configure(Settings(), 'worker'); telemetry.logger().info('process.started'); print('on')"
    )
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=full,
            check=False,
        )
    assert done.stdout == b"on\n"
