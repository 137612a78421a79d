"""`bench recorder`: log events through broker, `on_record` and PostgreSQL, beside the
same with `executemany`.

Both are the whole recorder and differ in how a batch is written: in a few statements,
or row by row. A row is an event; each also brings the row of its upload up to date.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

from handlers.audit_log.connections import connect
from handlers.audit_log.database import AuditLog
from handlers.audit_log.values import Written
from handlers.on_record import EventWriter
from handlers.processes.recorder import Recorder
from infra.bench.figures import Figures, Spread, show
from infra.bench.quiet import quiet
from shared.broker import topology
from shared.broker.consumer import Consumer
from shared.broker.publisher import Publisher
from shared.runtime.settings import AuditLogSettings, Settings
from shared.uploads import identity
from shared.uploads.messages import LogEvent, Status

LIMIT_S = 120.0

_EVENT = """
    INSERT INTO darkroom.restoration_event (event_id, upload_id, upload_time, task_id, kind, at, fields)
    VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (event_id) DO NOTHING
"""
_ROW = """
    INSERT INTO darkroom.restoration_log (upload_id, upload_time, task_id, status) VALUES (%s, %s, %s, %s)
    ON CONFLICT (upload_id, upload_time) DO UPDATE SET status = greatest(restoration_log.status, excluded.status)
"""
_SOURCE = {
    "user_id": "ab" * 32,
    "image_filename": "IMG_20260102_030405.jpg",
    "bytes": 1_000_000,
    "width": 1536,
    "height": 1024,
    "sha256": "cd" * 32,
    "workflow_type": "fast",
    "workflow_version": 1,
    "params": {"scale": 4},
    "signature": "0123456789abcdef",
}
_LIFE: dict[Status, dict[str, object]] = {
    "queued": _SOURCE,
    "processing": {"attempts": 1},
    "success": {
        **_SOURCE,
        "result_url": "s3://results/processed/x.png",
        "duration_seconds": 1.5,
        "queue_seconds": 0.5,
        "attempts": 1,
        "engine": "ncnn",
        "device": "cpu",
        "peak_memory_bytes": 500_000_000,
    },
}


class RowByRow:
    """The reference: a statement for each row, a commit for each batch. It merges no
    columns and keeps no order.
    """

    def __init__(self, settings: AuditLogSettings) -> None:
        self._connection = connect(settings)

    def write(self, events: Sequence[LogEvent]) -> Written:
        with self._connection, self._connection.cursor() as cursor:
            cursor.executemany(
                _EVENT,
                [
                    (
                        e.event_id,
                        e.upload_id,
                        e.upload_time,
                        e.task_id,
                        e.kind,
                        e.at,
                        json.dumps(e.fields),
                    )
                    for e in events
                ],
            )
            cursor.executemany(
                _ROW, [(e.upload_id, e.upload_time, e.task_id, e.kind) for e in events]
            )
        return Written(added=len(events))

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True)
class Rate:
    """Rows a second: of time, and of the recorder's own CPU time (without the
    servers').
    """

    of_time: float
    of_cpu: float


@dataclass
class Counted:
    """A audit log that sets `enough` once `expected` events are committed."""

    audit_log: EventWriter
    expected: int
    enough: threading.Event
    written: Written = field(default_factory=Written)
    ended_s: float = 0.0

    def write(self, events: Sequence[LogEvent]) -> Written:
        written = self.audit_log.write(events)
        self.written += written
        if (
            self.written.added + self.written.repeated + self.written.rejected
            >= self.expected
        ):
            self.ended_s = time.perf_counter()
            self.enough.set()
        return written


def run(settings: Settings, events: int, rounds: int, as_json: bool) -> int:
    """Measure, and print the figures; the exit status."""
    quiet(settings)
    measured = measure(settings, events, rounds)
    numbers = {"events": events, "rounds": rounds, "batch": settings.log_batch}
    return show("recorder", numbers, measured, as_json)


def measure(settings: Settings, events: int, rounds: int) -> dict[str, Figures]:
    """`events` each round for either. Raises `AssertionError` if one of them is lost or
    refused.
    """
    ours, theirs = AuditLog(settings), RowByRow(settings)
    runs: list[tuple[Rate, Rate]] = []
    try:
        for number in range(rounds + 1):
            run = _run(settings, ours, events), _run(settings, theirs, events)
            runs += [run] if number else []  # the first warms up
    finally:
        ours.close()
        theirs.close()
    return {
        "on_record": _figures(
            [ours for ours, _ in runs], [theirs for _, theirs in runs]
        ),
        "executemany": _figures(
            [theirs for _, theirs in runs], [theirs for _, theirs in runs]
        ),
    }


def _figures(rates: list[Rate], reference: list[Rate]) -> Figures:
    """Ratios are of the same round."""
    return {
        "rows/s": Spread.of([rate.of_time for rate in rates]),
        "rows/s/core": Spread.of([rate.of_cpu for rate in rates]),
        "ratio": Spread.of(
            [
                rate.of_time / other.of_time
                for rate, other in zip(rates, reference, strict=True)
            ]
        ),
    }


def _run(settings: Settings, audit_log: EventWriter, events: int) -> Rate:
    """From connecting to the broker, which holds all events, to the last commit."""
    publisher = Publisher(settings)
    publisher.publish_many(topology.LOG, (event.encode() for event in lives(events)))
    publisher.close()
    stop, drained = threading.Event(), threading.Event()
    counted = Counted(audit_log, events, stop)
    recorder = Recorder(settings, counted, stop)
    consumer = Consumer(settings, {topology.LOG: 2 * settings.log_batch}, recorder.put)
    # A recorder has no time limit of its own.
    limit = threading.Timer(LIMIT_S, stop.set)
    limit.start()
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(recorder.run)
        writing.add_done_callback(lambda _: drained.set())
        try:
            consumer.run(drained)
        finally:
            stop.set()
            limit.cancel()
    writing.result()
    assert counted.written == Written(added=events), counted.written
    return Rate(
        events / (counted.ended_s - began_s),
        events / (time.process_time() - began_cpu_s),
    )


def lives(events: int) -> Iterator[LogEvent]:
    """So many events: uploads that are queued, begun and restored, one after another."""
    made = 0
    while made < events:
        upload_id, now = str(uuid4()), datetime.now(UTC)
        task_id = identity.task_id("user", upload_id, "signature")
        for kind, fields in list(_LIFE.items())[: events - made]:
            ident = identity.event_id(upload_id, kind)
            yield LogEvent(
                event_id=ident,
                upload_id=upload_id,
                upload_time=now,
                task_id=task_id,
                kind=kind,
                at=now,
                fields=fields,
            )
            made += 1
