"""Ended uploads whose webhook the call log does not have.

Finds: uploads with a webhook URL that the call log does not know. Does: requests their
webhooks again, once the queue of requests is empty. Safe to repeat: a request for a
webhook that is in the call log changes nothing.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from handlers.reconcile.isolation import ident_of
from handlers.reconcile.pass_context import PassContext
from handlers.reconcile.tables import Entry, text
from handlers.webhooks.call_log import CallLog
from shared.broker import topology
from shared.uploads.messages import CallbackDue


def request_missing(
    sweep: PassContext,
    entries: Sequence[Entry],
    idle: Container[str],
) -> set[bytes]:
    """Return the uploads whose webhook is in the call log; request those of the
    others.
    """
    ctx = sweep.ctx
    call_log = CallLog(
        ctx.store, ctx.settings.bucket_results, ctx.settings.callback_timeout_s
    )

    def is_logged(entry: Entry) -> bool:
        return call_log.has(entry.ref)

    looked_up = sweep.isolation.run_each(
        "callbacks", sweep.executor, is_logged, entries, ident_of
    )
    logged: set[bytes] = set()
    missing: list[str] = []
    for entry, found in looked_up:
        if found is True:
            logged.add(entry.upload)
        elif found is False:
            missing.append(text(entry.upload))
    if missing and topology.CALLBACKS in idle:
        _request(sweep, missing)
    return logged


def _request(sweep: PassContext, upload_ids: list[str]) -> None:
    sweep.report.webhooks_requested += len(upload_ids)
    if sweep.dry_run:
        return
    requests = [CallbackDue(upload_id=ident).encode() for ident in upload_ids]
    sweep.publisher.publish_many(topology.CALLBACKS, requests)
