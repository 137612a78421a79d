"""What an erasure takes away, once the reason says so: by whoever was asked for it, or by the sweep after him."""

from __future__ import annotations

from contextlib import suppress

from handlers.context import Context
from handlers.retelling import write_again
from shared import keys
from shared.documents import Receipt, Source
from shared.errors import NotFound
from shared.withdrawal import ERASED


def blank(receipt: Receipt) -> Receipt:
    """Without what its user wrote, which a fault may quote."""
    workflow = receipt.workflow and receipt.workflow.model_copy(update={"params": {}})
    source = receipt.source.model_copy(update={"key": ERASED, "filename": None})
    fault = receipt.fault and receipt.fault.model_copy(update={"error_detail": ERASED})
    return receipt.model_copy(update={"source": source, "workflow": workflow, "fault": fault, "callback": None})


def take_away_results(ctx: Context, task_id: str) -> None:
    """The record goes last: while it is there, somebody looks after the others."""
    for key in (keys.result(task_id), keys.damaged(keys.record(task_id))):
        ctx.store.delete(ctx.settings.bucket_archive, key)
    for key in (keys.result(task_id), keys.preview(task_id), keys.record(task_id)):
        ctx.store.delete(ctx.settings.bucket_results, key)


def take_away_upload(ctx: Context, receipt: Receipt) -> None:
    """Original, copies, and what the receipt says. May be repeated."""
    if receipt.preview is None:
        _delete_original(ctx, receipt.source)
    delete_copies(ctx, receipt.upload_id)
    if receipt != blank(receipt):
        write_again(ctx, blank(receipt))  # last: until here the receipt says where the original lies


def delete_copies(ctx: Context, upload_id: str) -> None:
    """All but the reason in quarantine, and what the sweep put aside."""
    quarantine, reason = ctx.settings.bucket_quarantine, keys.reason(upload_id)
    for key in (keys.receipt(upload_id), reason):
        ctx.store.delete(ctx.settings.bucket_archive, keys.damaged(key))
    for info in list(ctx.store.list(quarantine, f"{upload_id}/")):
        if info.key != reason:
            ctx.store.delete(quarantine, info.key)


def _delete_original(ctx: Context, source: Source) -> None:
    """Unless something else lies at its key by now."""
    with suppress(NotFound):
        info = ctx.store.head(source.bucket, source.key, source.version)
        if info.etag == source.etag:
            ctx.store.delete(source.bucket, source.key, source.version)
