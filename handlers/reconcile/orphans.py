"""A late stage: results that no record names are retired.

Finds: results an hour old, without a record, of tasks for which no upload waits. Does:
moves them to the archive bucket. Safe to repeat: a moved result is no longer listed,
and one that a worker commits meanwhile is copied back.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from functools import partial

from handlers.reconcile.pass_context import PassContext
from handlers.reconcile.tables import text
from shared.s3.store import ObjectInfo
from shared.uploads import keys

ORPHAN_S = 3600.0
"""Age at which no attempt that is still under way can write the record."""
MOST = 10_000
"""Most of them retired in one pass."""


class Orphans:
    """Results without a record, by task, as the first stage listed them."""

    def __init__(self) -> None:
        self._results: dict[bytes, ObjectInfo] = {}

    def add(self, task: bytes, result: ObjectInfo) -> None:
        """Remember a result, if it is old enough and there are not too many."""
        if result.age_s > ORPHAN_S and len(self._results) < MOST:
            self._results[task] = result

    def __contains__(self, task: bytes) -> bool:
        return task in self._results

    def retire(self, sweep: PassContext, waited_for: Container[bytes]) -> None:
        """Move those results to the archive for which no upload waits."""
        for task, info in self._results.items():
            if task not in waited_for:
                task_id = text(task)
                retire = partial(_retire, sweep, info, task_id)
                sweep.isolation.run("orphans", task_id, retire)


def _retire(sweep: PassContext, result: ObjectInfo, task_id: str) -> None:
    ctx = sweep.ctx
    results, archive = ctx.settings.bucket_results, ctx.settings.bucket_archive
    if ctx.uploads.has_record(task_id):
        return
    sweep.report.results_retired += 1
    if sweep.dry_run:
        return
    copies = ctx.store.list(results, keys.copies(task_id))
    credentials = ctx.store.list(results, keys.credentials(task_id))
    # The result goes last, as it leads to the others.
    retired = [*copies, *credentials, result]
    for info in retired:
        ctx.store.copy(info, archive, info.key)
        ctx.store.delete(results, info.key)
    ctx.store.delete(results, keys.preview(task_id))
    ctx.store.delete(results, keys.mask(task_id))
    for info in list(ctx.store.list(results, keys.pyramids(task_id))):
        ctx.store.delete(results, info.key)
    if ctx.uploads.has_record(task_id):
        # A worker found the result there, and committed it meanwhile.
        for info in retired:
            ctx.store.copy(replace(info, bucket=archive), results, info.key)
