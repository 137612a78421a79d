"""`bench sweep`: what a pass over a full bucket costs where nothing was lost: requests,
seconds, memory.

Three passes over the same objects: by a process that knows nothing of them, by the same
process again, and by a fresh one that goes by what the bucket keeps of the passes
before. And two looks at new uploads, of which there are none.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, cast

from handlers.context import Context
from handlers.on_sweep import Memory, on_sweep
from handlers.reconcile.arrivals import Arrivals
from infra.bench.backlog import Memory as Resident
from infra.bench.figures import Figures, show
from infra.bench.quiet import quiet
from shared.runtime.settings import Settings
from shared.s3.listing import PAGE
from shared.s3.store import ObjectInfo, ObjectStore, S3Store
from shared.uploads import identity, keys
from shared.uploads.documents import Receipt, Record, Source
from shared.workflows import resolve

WRITERS = 16
LISTINGS = ("list", "list_versions")
ONE_REQUEST = ("open", "read", "head", "put", "put_new", "delete")


class Counted:
    """The store; `requests` counts the requests, by the name of the call."""

    def __init__(self, store: S3Store) -> None:
        self._store = store
        self.requests: Counter[str] = Counter()
        store.client.meta.events.register("before-send.s3", self._sent)

    def _sent(self, event_name: str, **_: Any) -> None:
        self.requests[event_name.rpartition(".")[2]] += 1

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name in LISTINGS:
            return lambda *args, **kwargs: self._listed(method(*args, **kwargs))
        if name not in ONE_REQUEST:
            return method

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.requests[name] += 1
            return method(*args, **kwargs)

        return counted

    def _listed(self, listed: Iterator[ObjectInfo]) -> Iterator[ObjectInfo]:
        self.requests["page"] += 1
        for number, info in enumerate(listed):
            self.requests["page"] += bool(number) and number % PAGE == 0
            yield info


def run(settings: Settings, objects: int, as_json: bool) -> int:
    """Measure, and print the figures; the exit status."""
    quiet(settings)
    measured = measure(settings, objects)
    numbers = {"objects": objects}
    return show("sweep", numbers, measured, as_json)


def measure(settings: Settings, objects: int) -> dict[str, Figures]:
    """`objects` uploads in empty buckets, each with receipt and record.
    `AssertionError`: a pass found work.
    """
    process = multiprocessing.get_context("spawn").Process(
        target=making, args=(settings, objects)
    )
    process.start()
    process.join()
    assert process.exitcode == 0, "the objects could not be made"
    memory = Memory()
    passes = {
        "first pass": _pass(settings, objects, memory),
        "next pass": _pass(settings, objects, memory),
        "fresh process": _pass(settings, objects, Memory()),
    }
    return passes | looks(settings, objects)


def looks(settings: Settings, objects: int) -> dict[str, Figures]:
    """Measure the looks at new uploads between two passes: the first one, and each one
    after it.
    """
    ctx, store = _counted(settings)
    arrivals = Arrivals(ctx)
    rows = {}
    for name in ("first look", "next look"):
        store.requests.clear()
        resident = Resident({"sweep": os.getpid()})
        with resident.watched():
            look = arrivals.look()
        assert look.notifications_missed == look.failed == 0, look
        assert look.uploads >= objects, look
        rows[name] = _row(look.seconds, store, resident)
    return rows


def _counted(settings: Settings) -> tuple[Context, Counted]:
    ctx = Context.of(settings)
    store = Counted(cast(S3Store, ctx.store))
    return replace(ctx, store=cast(ObjectStore, store)), store


def _pass(settings: Settings, objects: int, memory: Memory) -> Figures:
    ctx, store = _counted(settings)
    resident = Resident({"sweep": os.getpid()})
    with resident.watched():
        report = on_sweep(ctx, memory=memory)
    assert report.uploads == report.receipts == objects, report
    assert report.notifications_missed == report.republished == 0, report
    assert report.failed == 0, report
    return _row(report.seconds, store, resident)


def _row(seconds: float, store: Counted, resident: Resident) -> Figures:
    return {
        "seconds": seconds,
        "requests": store.requests.total(),
        "lists": store.requests["page"],
        "reads": store.requests["read"],
        **resident.rows()["sweep"],
    }


def making(settings: Settings, objects: int) -> None:
    """Make the objects, in a process of its own: the memory that it takes is not the
    sweep's.
    """
    quiet(settings)
    ctx = Context.of(settings)
    make = partial(_make, ctx)
    with ThreadPoolExecutor(WRITERS) as pool:
        deque(pool.map(make, range(objects)), maxlen=0)


def _make(ctx: Context, number: int) -> None:
    """Make what a restored upload leaves, but for the picture."""
    bucket = ctx.settings.bucket_uploads
    key = f"bench/{number:08}.png"
    body = str(number).encode()
    info = ctx.store.put(bucket, key, body, "image/png")
    task_id = identity.task_id("u", str(number), "s")
    receipt = _receipt(info, task_id)
    ctx.uploads.write_receipt(receipt)
    ctx.uploads.write_record(_record(receipt))


def _receipt(info: ObjectInfo, task_id: str) -> Receipt:
    source = Source(
        bucket=info.bucket,
        key=info.key,
        etag=info.etag,
        bytes=1,
        upload_time=info.last_modified,
    )
    return Receipt(
        upload_id=identity.upload_id(info.bucket, info.key, info.etag),
        decision="queued",
        user_hash="u",
        priority="bulk",
        decided_at=info.last_modified,
        source=source,
        task_id=task_id,
        workflow=resolve("fast").ref,
    )


def _record(receipt: Receipt) -> Record:
    assert receipt.task_id is not None
    assert receipt.workflow is not None
    at = receipt.decided_at
    return Record(
        task_id=receipt.task_id,
        upload_id=receipt.upload_id,
        user_hash=receipt.user_hash,
        source=receipt.source,
        workflow=receipt.workflow,
        models=[],
        engine="e",
        device="d",
        tile={},
        steps=[],
        width=1,
        height=1,
        result_key=keys.result(receipt.task_id),
        result_sha256="s",
        result_bytes=1,
        attempts=1,
        queued_at=at,
        started_at=at,
        finished_at=at,
        duration_seconds=1,
        queue_seconds=1,
        peak_memory_bytes=1,
        software="0",
    )
