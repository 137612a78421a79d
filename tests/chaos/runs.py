"""Why a photo was on the device twice: every inference beyond a task's first, and what
cut the one before it off.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Literal

from gpu_worker.pipeline.retrying import POLICY
from shared.uploads.claims import REDELIVERED_LEASE_FRACTION, RENEWALS_PER_LEASE
from shared.uploads.documents import Record

WORKER_LOGS = "workers"
"""Folder beside the state, on a disk that is never filled: a line that is lost would be
a run that nobody counts.
"""
SCRATCH = "scratch"
"""Folder beside the state for the workers' scratch files; nothing may be left there."""
WHY = ("kill", "freeze", "stop", "lease", "retry")
"""Killed; frozen; told to stop, and handed back; the store was away, and with it the
lease; given up for a next try.
"""
ENDS = ("task.restored", "task.duplicate", "task.failed", "task.dropped")
RETRIES = ("task.retried", "task.deferred")
SECOND = timedelta(seconds=1)  # object times come in whole seconds
BACK = timedelta(seconds=POLICY.cap_s)
"""So long after the store is back a worker may still leave it alone."""
Kind = Literal["kill", "freeze", "stop", "outage"]


@dataclass
class Deed:
    """What a fault did to process `pid`, or to the store (`outage`). `until` None: it
    has not ended.
    """

    kind: Kind
    pid: int
    since: datetime
    until: datetime | None


@dataclass(frozen=True)
class Run:
    """One inference. `worker`: the log that tells of it."""

    worker: str
    task_id: str
    upload_id: str
    attempt: int
    pid: int
    claimed: datetime
    began: datetime

    def __str__(self) -> str:
        return f"attempt {self.attempt} of {self.worker}, pid {self.pid}, claimed {self.claimed}, begun {self.began}"


@dataclass(frozen=True)
class End:
    """A worker's word that it is done with a photo, one way or the other."""

    worker: str
    event: str
    task_id: str
    upload_id: str | None
    at: datetime


def now() -> datetime:
    return datetime.now(UTC)


def told(logs: Path) -> tuple[list[Run], list[End]]:
    """What the workers wrote; a line that a kill cut short tells of nothing."""
    runs, ends = [], []
    for log in sorted(logs.glob("*.log")):
        for text in log.read_text(errors="replace").splitlines():
            try:
                line = json.loads(text)
                event, at = line["event"], datetime.fromisoformat(line["timestamp"])
            except (ValueError, TypeError, KeyError):
                continue
            if event == "task.begun":
                claimed = datetime.fromisoformat(line["claimed_at"])
                runs.append(
                    Run(
                        log.stem,
                        line["task_id"],
                        line["upload_id"],
                        line["attempt"],
                        line["pid"],
                        claimed,
                        at,
                    )
                )
            elif event in ENDS + RETRIES:
                ends.append(
                    End(log.stem, event, line["task_id"], line.get("upload_id"), at)
                )
    return runs, ends


def explain(
    runs: Iterable[Run],
    ends: Sequence[End],
    deeds: Sequence[Deed],
    stored: Mapping[str, tuple[Record, datetime]],
    lease_s: float,
) -> tuple[Counter[str], list[str]]:
    """How many runs beyond the first were needed, by what cut off the run before; and
    those that nothing explains.

    `stored`: each task's record, and when the store had it. That no line tells of a
    stored result is a finding, too.
    """
    why: Counter[str] = Counter()
    unexplained = []
    by_task: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (run.claimed, run.began)):
        by_task.setdefault(run.task_id, []).append(run)
    for task_id, in_order in by_task.items():
        for earlier, later in pairwise(in_order):
            if task_id in stored and later.claimed > stored[task_id][1] + SECOND:
                reason = None  # its record stood before the photo was claimed again
            else:
                reason = _reason(earlier, later, ends, deeds, lease_s)
            if reason:
                why[reason] += 1
            else:
                unexplained.append(f"task {task_id}: {earlier}; then {later}")
    for task_id, (record, _) in stored.items():
        if not any(
            run.attempt == record.attempts
            and abs(run.claimed - record.started_at) < SECOND
            for run in by_task.get(task_id, [])
        ):
            unexplained.append(
                f"task {task_id}: no worker tells of the run that restored it, {record.started_at}"
            )
    return why, unexplained


def _reason(
    earlier: Run, later: Run, ends: Sequence[End], deeds: Sequence[Deed], lease_s: float
) -> str | None:
    """What cut `earlier` off after its claim and before the claim of `later`."""
    last = {
        end.event
        for end in ends
        if earlier.began <= end.at <= later.claimed
        and end.task_id == earlier.task_id
        and end.worker == earlier.worker
        and end.upload_id in (None, earlier.upload_id)
    }
    if last & set(ENDS):
        return None
    silent = timedelta(
        seconds=lease_s * (REDELIVERED_LEASE_FRACTION - 1 / RENEWALS_PER_LEASE)
    )
    for kind in ("kill", "freeze", "stop"):
        for deed in deeds:
            if deed.kind == kind and deed.pid == earlier.pid:
                shared = min(deed.until or later.claimed, later.claimed) - max(
                    deed.since, earlier.claimed
                )
                if shared >= (silent if kind == "freeze" else timedelta(0)):
                    return kind
    away = any(
        deed.kind == "outage"
        and deed.since <= later.claimed
        and (deed.until is None or earlier.claimed <= deed.until + BACK)
        for deed in deeds
    )
    if away and last & set(RETRIES):
        return "retry"
    return (
        "lease"
        if away
        and later.claimed - earlier.claimed
        >= timedelta(seconds=lease_s * REDELIVERED_LEASE_FRACTION)
        else None
    )
