"""After the faults: what became of every upload, by the bucket, the log, and what
workers wrote of their runs.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psycopg2
import psycopg2.extras

from shared.broker.depth import depth
from shared.broker.topology import dead_queue
from shared.errors import BrokerUnavailable, NotFound, StorageUnavailable
from shared.uploads import keys
from shared.uploads.documents import Reason, Receipt, Record
from tests.chaos.pixels import differing
from tests.chaos.remains import died, leaks, left_behind
from tests.chaos.runs import WORKER_LOGS, explain, told
from tests.chaos.world import World

if TYPE_CHECKING:
    from tests.chaos.run import Run, Upload

MISSING = ("source_missing", "source_changed")


@dataclass
class Verdict:
    """What is printed. Lists name uploads or tasks; all but the figures must be empty.

    `recovered_s`: the longest time from a crash of everything to the first photo
    restored after it; 0: none was seen. `retiring`: results that the sweep will move to
    the archive once they are an hour old.
    """

    seed: int
    uploads: int
    injected: Counter[str]
    ends: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    wrong_ends: list[str] = field(default_factory=list)
    written_twice: list[str] = field(default_factory=list)
    wrong_pixels: list[str] = field(default_factory=list)
    phantoms: list[str] = field(default_factory=list)
    rows_missing: list[str] = field(default_factory=list)
    rows_doubled: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)
    retiring: int = 0
    pixels_compared: int = 0
    runs: int = 0
    duplicated_runs: int = 0
    explained: Counter[str] = field(default_factory=Counter)
    unexplained: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    died: list[str] = field(default_factory=list)
    recovered_s: float = 0.0
    longest_s: float = 0.0
    settled_s: float = 0.0

    @property
    def faults(self) -> dict[str, list[str]]:
        names = (
            "lost",
            "wrong_ends",
            "written_twice",
            "wrong_pixels",
            "phantoms",
            "rows_missing",
            "rows_doubled",
            "left_over",
            "unexplained",
            "leaks",
            "died",
        )
        return {name: getattr(self, name) for name in names}

    @property
    def good(self) -> bool:
        return not any(self.faults.values())


@dataclass
class Found:
    """Everything that is left, in one look. `versions`: how often a result or record
    was written; `written`: when.
    """

    receipts: dict[str, Receipt]
    records: dict[str, Record]
    reasons: dict[str, Reason]
    versions: Counter[str]
    written: dict[str, datetime]
    claims: list[str]
    rows: list[dict[str, Any]]
    ends_told: Counter[tuple[str, str]]
    waiting: dict[str, int]


def judge(world: World, run: Run, settle_s: float) -> Verdict:
    """Wait until everything has its end (or the time is up), then count."""
    began_s = time.monotonic()
    while True:
        try:
            found = look(world)
            verdict = _count(run, found)
            if verdict.good or time.monotonic() - began_s > settle_s:
                break
        except (StorageUnavailable, BrokerUnavailable, psycopg2.OperationalError):
            if time.monotonic() - began_s > settle_s:
                raise
        time.sleep(1)
    verdict.settled_s = time.monotonic() - began_s
    runs, ends = told(world.folder.parent / WORKER_LOGS)
    stored = {
        task_id: (r, found.written[keys.record(task_id)])
        for task_id, r in found.records.items()
    }
    verdict.runs, verdict.duplicated_runs = (
        len(runs),
        len(runs) - len({run.task_id for run in runs}),
    )
    verdict.explained, verdict.unexplained = explain(
        runs, ends, world.deeds, stored, world.settings.lease_s
    )
    verdict.left_over += left_behind(world)
    verdict.leaks, verdict.died = leaks(world), died(world)
    finished = [record.finished_at for record in found.records.values()]
    for since, dead_at in world.crashes:
        first = min((at for at in finished if at > dead_at), default=since)
        verdict.recovered_s = max(verdict.recovered_s, (first - since).total_seconds())
    verdict.pixels_compared, verdict.wrong_pixels = differing(
        world, list(found.records.values()), run.seed
    )
    return verdict


def look(world: World) -> Found:
    store, settings = world.store, world.settings
    results, quarantine = settings.bucket_results, settings.bucket_quarantine

    def documents(kind: type[Any], bucket: str, prefix: str, suffix: str) -> list[Any]:
        found = []
        for info in store.list(bucket, prefix):
            if info.key.endswith(suffix):
                try:
                    found.append(
                        kind.from_bytes(store.read(bucket, info.key), info.key)
                    )
                except NotFound:
                    continue
        return found

    receipts = documents(Receipt, results, "receipts/", ".json")
    records = documents(Record, results, "processed/", ".json")
    # after the records: one that is written meanwhile may be here alone
    versions: Counter[str] = Counter()
    written: dict[str, datetime] = {}
    for page in store.client.get_paginator("list_object_versions").paginate(
        Bucket=results, Prefix="processed/"
    ):
        versions.update(entry["Key"] for entry in page.get("Versions", []))
        written |= {
            entry["Key"]: entry["LastModified"] for entry in page.get("Versions", [])
        }
    connection = psycopg2.connect(
        settings.database_url.get_secret_value(), connect_timeout=3
    )
    with (
        connection,
        connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor,
    ):
        cursor.execute(
            "select upload_id::text, status, updated_at from darkroom.restoration_log"
        )
        rows = [dict(row) for row in cursor.fetchall()]
        cursor.execute(
            "select upload_id::text, kind, count(*) from darkroom.restoration_event group by 1, 2"
        )
        ends_told = Counter(
            {(row["upload_id"], row["kind"]): row["count"] for row in cursor.fetchall()}
        )
    connection.close()
    return Found(
        receipts={receipt.upload_id: receipt for receipt in receipts},
        records={record.task_id: record for record in records},
        reasons={
            r.upload_id: r for r in documents(Reason, quarantine, "", "/reason.json")
        },
        versions=versions,
        written=written,
        claims=[info.key for info in store.list(results, keys.claims())],
        rows=rows,
        ends_told=ends_told,
        waiting=depth(settings),
    )


def _count(run: Run, found: Found) -> Verdict:
    verdict = Verdict(run.seed, len(run.uploads), run.injected)
    rows = Counter(row["upload_id"] for row in found.rows)
    statuses = {row["upload_id"]: row["status"] for row in found.rows}
    for upload in run.uploads:
        end, at = _end(upload, found)
        verdict.ends[end] += 1
        if end == "none":
            verdict.lost.append(upload.upload_id)
        elif not _fits(upload, end):
            verdict.wrong_ends.append(
                f"{upload.upload_id}: {upload.draft.kind} is {end}"
            )
        if at:
            verdict.longest_s = max(
                verdict.longest_s, (at - upload.acknowledged).total_seconds()
            )
        if (
            upload.upload_id in found.receipts
            and statuses.get(upload.upload_id) != end.partition(":")[0]
        ):
            verdict.rows_missing.append(
                f"{upload.upload_id}: {end}, row {statuses.get(upload.upload_id)}"
            )
    known = {upload.upload_id for upload in run.uploads}
    verdict.phantoms = [
        r.task_id for r in found.records.values() if r.upload_id not in known
    ]
    verdict.written_twice = [
        key for key, written in found.versions.items() if written > 1
    ]
    verdict.rows_doubled = [
        upload_id
        for upload_id, number in rows.items()
        if number > 1 or upload_id not in known
    ]
    verdict.rows_doubled += [
        f"{end} of {upload_id} twice"
        for (upload_id, end), number in found.ends_told.items()
        if end in ("success", "rejected", "duplicate") and number > 1
    ]
    orphans, verdict.retiring = _orphans(found)
    verdict.left_over = (
        found.claims
        + orphans
        + [
            f"{number} in {queue}"
            for queue, number in found.waiting.items()
            if number and not queue.endswith(dead_queue(""))
        ]
    )
    return verdict


def _end(upload: Upload, found: Found) -> tuple[str, datetime | None]:
    """The upload's end, by the bucket alone, and when it came."""
    receipt = found.receipts.get(upload.upload_id)
    if receipt is None:
        return ("unseen" if upload.superseded else "none"), None
    reason, record = (
        found.reasons.get(upload.upload_id),
        found.records.get(receipt.task_id or ""),
    )
    # its own end, also where a twin of the same task was restored
    if reason is not None:
        return f"{reason.status}:{reason.error_code}", reason.at
    if record is None:
        return "none", None
    return (
        "success" if record.upload_id == upload.upload_id else "duplicate"
    ), record.finished_at


def _fits(upload: Upload, end: str) -> bool:
    """Whether this end is what its owner would expect."""
    status, _, code = end.partition(":")
    if upload.superseded and (status == "unseen" or code in MISSING):
        return True
    if upload.draft.kind == "broken":
        return status == "rejected" and code not in MISSING
    return status in ("success", "duplicate")


def _orphans(found: Found) -> tuple[list[str], int]:
    """Results without a record: those that stay, and how many the sweep will retire.

    A worker was killed between result and record, and before the next attempt the owner
    overwrote or deleted the photo: that attempt finds no source, and writes no record.
    """
    results = {key for key in found.versions if key.endswith(".png")}
    results -= {record.result_key for record in found.records.values()}
    by_task: dict[str | None, list[Reason | None]] = {}
    for receipt in found.receipts.values():
        reason = found.reasons.get(receipt.upload_id)
        by_task.setdefault(receipt.task_id, []).append(reason)
    retiring = {
        keys.result(task_id)
        for task_id, reasons in by_task.items()
        if task_id and all(r and r.error_code in MISSING for r in reasons)
    }
    return sorted(results - retiring), len(results & retiring)
