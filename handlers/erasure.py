"""Cancelling and erasing uploads.

Every upload gets its end first, which a worker that has it in work respects; then
everything is deleted, of buckets with versions every version. What a crash leaves is
deleted when the request is repeated, or by the sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

from handlers.comfyui.shelf import Shelf
from handlers.context import Context
from handlers.intake.original import delete_original
from shared.errors import BrokerUnavailable, Code, NotFound
from shared.runtime.telemetry import logger
from shared.s3.store import ObjectInfo
from shared.uploads import events, keys
from shared.uploads.documents import Reason, Receipt, Superseded
from shared.uploads.ingests import IngestStore
from shared.uploads.outcome import ERASED_KEY
from shared.uploads.ref import version_of

R = TypeVar("R", bound=Receipt)
SENTENCES = {
    Code.CANCELLED: "its owner took it back before it was restored; upload it again to have it restored",
    Code.ERASED: "its owner had it erased; upload it again to have it restored",
    Code.EXPIRED: "it was not started in time, and is erased; upload it again to have it restored",
}


def erase(ctx: Context, task_id: str, uploads: Sequence[Receipt]) -> None:
    """Erase a task with all of its uploads. May be repeated."""
    for receipt in uploads:
        # The end comes first: a worker that has the photo in work then deletes what it
        # makes.
        end(ctx, blank(receipt), Code.ERASED)
    task_ids = {receipt.task_id for receipt in uploads if receipt.task_id}
    for each in {task_id, *task_ids}:
        take_away_results(ctx, each)
    for receipt in uploads:
        take_away_upload(ctx, receipt)


def erase_held(ctx: Context, receipt: Receipt, code: Code = Code.ERASED) -> None:
    """Erase an uploaded photo that was held back, with all of its runs. May be
    repeated.
    """
    end(ctx, blank(receipt), code)
    take_away_upload(ctx, receipt)
    # Last, as it leads the sweep to what broke off.
    ctx.uploads.release_hold(receipt.upload_id)


def end(ctx: Context, receipt: Receipt, code: Code) -> None:
    """Write down and publish that an upload was taken back, by its owner or by the
    clock.
    """
    reason = Reason(
        upload_id=receipt.upload_id,
        task_id=receipt.task_id,
        status="failed",
        error_code=code,
        error_detail=SENTENCES[code],
        source=receipt.source,
        at=ctx.clock.now(),
        retries=receipt.retries,
    )
    if isinstance(receipt, Superseded):
        # The place of the reason is the later upload's. The sweep does not publish this
        # end again, so a broker that is down is an error here.
        ctx.uploads.write_receipt(receipt)
        events.publish_event(
            ctx.publisher, events.of_withdrawal(receipt, reason), receipt
        )
    else:
        ctx.uploads.write_reason(reason)
        _publish_or_leave_to_sweep(ctx, reason, receipt)
    logger().info(
        "task.withdrawn",
        upload_id=receipt.upload_id,
        task_id=receipt.task_id,
        code=code,
    )


def blank(receipt: R) -> R:
    """Return the receipt without what its user wrote, which a fault may quote."""
    changes: dict[str, object] = {"callback": None, "mask": None}
    changes["source"] = receipt.source.model_copy(
        update={"key": ERASED_KEY, "filename": None, "captions": None}
    )
    if receipt.workflow:
        changes["workflow"] = receipt.workflow.model_copy(update={"params": {}})
    if receipt.fault:
        changes["fault"] = receipt.fault.model_copy(update={"error_detail": ERASED_KEY})
    return receipt.model_copy(update=changes)


def take_away_results(ctx: Context, task_id: str) -> None:
    """Delete what was made of a task.

    The record goes last: while it is there, the sweep does not retire the result.
    """
    archive, results = ctx.settings.bucket_archive, ctx.settings.bucket_results
    _delete_versions(ctx, archive, keys.result(task_id))
    _delete_versions(ctx, archive, keys.damaged(keys.record(task_id)))
    for bucket in (archive, results):
        for prefix in keys.beside(task_id):
            _delete_versions(ctx, bucket, prefix)
    for key in keys.results(task_id):
        _delete_versions(ctx, results, key)


def take_away_upload(ctx: Context, receipt: Receipt) -> None:
    """Delete the original, its copies, previews and runs, earlier uploads of the same
    bytes at its key, and what the receipt says. May be repeated.

    A run has no original of its own: that is the photo's, and stays with it.
    """
    results = ctx.settings.bucket_results
    _forget_prompts(ctx, receipt)
    if isinstance(receipt, Superseded):
        # All else belongs to the later upload, too, and is deleted with that.
        _keep_current_only(ctx, results, receipt.place())
        return
    if receipt.run_of:
        _take_away_run(ctx, receipt)
    elif receipt.preview is None:
        _erase_previews(ctx, receipt)
        for run in _runs(ctx, receipt):
            _erase_beside(ctx, run)
        for earlier in ctx.uploads.superseded(receipt.upload_id):
            if earlier.user_hash == receipt.user_hash:
                _erase_beside(ctx, earlier)
        if receipt.source.key != ERASED_KEY:
            delete_original(ctx, receipt, receipt.source.key)
    delete_copies(ctx, receipt.upload_id)
    if receipt.ingest:
        ingests = IngestStore(ctx.store, results)
        ingests.erase(receipt.ingest, receipt.upload_id)
        _keep_current_only(ctx, results, ingests.page_of(receipt.ingest))
        skipped = keys.ingest_skipped(str(receipt.ingest.job))
        _keep_current_only(ctx, results, skipped)
    blanked = blank(receipt)
    if receipt != blanked:
        # This comes last: until here the receipt says where the original lies.
        ctx.uploads.write_receipt(blanked)
    _keep_current_only(ctx, results, receipt.place())


def _forget_prompts(ctx: Context, receipt: Receipt) -> None:
    """Delete the prompts of ComfyUI's clients that name the photo."""
    shelf = Shelf(ctx.store, ctx.settings, receipt.user_hash)
    shelf.forget_of(receipt.upload_id)
    if receipt.task_id:
        shelf.forget_of(receipt.task_id)


def delete_copies(ctx: Context, upload_id: str) -> None:
    """Delete what quarantine has of an upload, but for the reason, and the damaged
    documents that the sweep kept.
    """
    quarantine, archive = ctx.settings.bucket_quarantine, ctx.settings.bucket_archive
    reason = keys.reason(upload_id)
    _delete_versions(ctx, archive, keys.damaged(keys.receipt(upload_id)))
    _delete_versions(ctx, archive, keys.damaged(reason))

    def is_copy(info: ObjectInfo) -> bool:
        return info.key != reason

    _delete_versions(ctx, quarantine, f"{upload_id}/", is_copy)
    _keep_current_only(ctx, quarantine, reason)


def _publish_or_leave_to_sweep(ctx: Context, reason: Reason, receipt: Receipt) -> None:
    try:
        events.publish_event(
            ctx.publisher, events.of_withdrawal(receipt, reason), receipt
        )
    except BrokerUnavailable as error:
        logger().warning(
            "upload.unpublished",
            upload_id=receipt.upload_id,
            task_id=receipt.task_id,
            detail=error.detail,
        )


def _erase_beside(ctx: Context, upload: Receipt) -> None:
    """Erase an upload beside the photo: a run of it, or one whose receipt was written
    over.
    """
    end(ctx, blank(upload), Code.ERASED)
    if upload.task_id:
        record = ctx.uploads.readable_record(upload.task_id)
        # Otherwise another upload of the photo has its result there.
        if record is None or record.ref == upload.ref:
            take_away_results(ctx, upload.task_id)
    take_away_upload(ctx, upload)


def _runs(ctx: Context, photo: Receipt) -> Iterator[Receipt]:
    """The receipts of the photo's runs; of a run that has none yet, the one that it is
    about to get, so that it cannot begin any more.
    """
    for run in ctx.uploads.runs(photo.upload_id):
        if run.user_hash == photo.user_hash:
            receipt = ctx.uploads.readable_receipt(run.upload_id)
            yield receipt or Receipt.model_validate(run.model_dump())


def _take_away_run(ctx: Context, run: Receipt) -> None:
    """Delete what leads from the photo to a run of it.

    A photo that was held back waits for a start again, and expires without one.
    """
    results = ctx.settings.bucket_results
    link = keys.run(run.run_of or "", run.upload_id)
    if not any(ctx.store.every_version(results, link)):
        return  # done before, and the photo may be near its expiry
    photo = ctx.uploads.readable_receipt(run.run_of or "")
    if photo and photo.decision == "held" and photo.source.key != ERASED_KEY:
        ctx.uploads.hold(photo.upload_id)
    _delete_versions(ctx, results, link)


def _erase_previews(ctx: Context, photo: Receipt) -> None:
    results = ctx.settings.bucket_results
    prefix = keys.receipt_prefix(photo.upload_id)
    for info in list(ctx.store.list(results, prefix)):
        with suppress(NotFound):
            data = ctx.store.read(info.bucket, info.key)
            receipt = Receipt.from_bytes(data, info.key)
            erase(ctx, receipt.task_id or "", [receipt])


def _delete_versions(
    ctx: Context,
    bucket: str,
    prefix: str,
    is_wanted: Callable[[ObjectInfo], bool] = lambda _: True,
) -> None:
    """Delete every version of the objects under a prefix."""
    for info in list(ctx.store.every_version(bucket, prefix)):
        if is_wanted(info):
            ctx.store.delete(bucket, info.key, info.version)


def _keep_current_only(ctx: Context, bucket: str, key: str) -> None:
    """Delete the earlier versions of a document that was written anew."""
    try:
        current = version_of(ctx.store.head(bucket, key).version)
    except NotFound:
        _delete_versions(ctx, bucket, key, lambda info: info.key == key)
        return

    def is_earlier(info: ObjectInfo) -> bool:
        return info.key == key and version_of(info.version) != current

    _delete_versions(ctx, bucket, key, is_earlier)
