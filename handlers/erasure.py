"""Erasing: first every upload gets its end, which a worker that has it in hand
respects; then all is taken away.

Of buckets with versions all versions go. What a crash leaves is taken away by whoever
is asked again, or by the sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from handlers.context import Context
from handlers.intake import upload_options
from shared.errors import BrokerUnavailable, Code, NotFound
from shared.runtime.telemetry import logger
from shared.s3.store import ObjectInfo
from shared.uploads import events, keys
from shared.uploads.documents import Reason, Receipt, Superseded
from shared.uploads.outcome import ERASED_KEY
from shared.uploads.ref import version_of

R = TypeVar("R", bound=Receipt)
SENTENCES = {
    Code.CANCELLED: "its owner took it back before it was restored; upload it again to have it restored",
    Code.ERASED: "its owner had it erased; upload it again to have it restored",
}


def erase(ctx: Context, task_id: str, uploads: Sequence[Receipt]) -> None:
    """Take away a task with all of its uploads. May be repeated: a second call finds
    whatever a crash left.
    """
    for receipt in uploads:
        # first: a worker that has it in hand cleans up behind itself
        end(ctx, blank(receipt), Code.ERASED)
    for task in {task_id, *(receipt.task_id for receipt in uploads if receipt.task_id)}:
        take_away_results(ctx, task)
    for receipt in uploads:
        take_away_upload(ctx, receipt)


def end(ctx: Context, receipt: Receipt, code: Code) -> None:
    """Write down and tell that its owner took an upload back."""
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
    ids = {"upload_id": receipt.upload_id, "task_id": receipt.task_id}
    if isinstance(receipt, Superseded):
        ctx.uploads.write_receipt(receipt)  # the reason's place is the later upload's
        # nobody tells it again
        events.publish_event(ctx.publisher, events.of_reason(reason), receipt)
        logger().info("task.withdrawn", **ids, code=code)
        return
    ctx.uploads.write_reason(reason)
    try:
        events.publish_event(ctx.publisher, events.of_reason(reason), receipt)
    except BrokerUnavailable as error:  # the sweep tells it again
        logger().warning("upload.unpublished", **ids, detail=error.detail)
    logger().info("task.withdrawn", **ids, code=code)


def blank(receipt: R) -> R:
    """Without what its user wrote, which a fault may quote."""
    workflow = receipt.workflow and receipt.workflow.model_copy(update={"params": {}})
    source = receipt.source.model_copy(update={"key": ERASED_KEY, "filename": None})
    fault = receipt.fault and receipt.fault.model_copy(
        update={"error_detail": ERASED_KEY}
    )
    return receipt.model_copy(
        update={
            "source": source,
            "workflow": workflow,
            "fault": fault,
            "callback": None,
        }
    )


def take_away_results(ctx: Context, task_id: str) -> None:
    """The record goes last: while it is there, somebody looks after the others."""
    settings = ctx.settings
    for key in (keys.result(task_id), keys.damaged(keys.record(task_id))):
        _take_away(ctx, settings.bucket_archive, key)
    for key in keys.results(task_id):
        _take_away(ctx, settings.bucket_results, key)


def take_away_upload(ctx: Context, receipt: Receipt) -> None:
    """Original, copies, previews, earlier uploads of the same bytes at its key, and
    what the receipt says.

    May be repeated.
    """
    if isinstance(receipt, Superseded):
        _only_current(ctx, ctx.settings.bucket_results, receipt.place())
        return  # all else is the later upload's, too, and goes with that
    if receipt.preview is None:
        _erase_previews(ctx, receipt)
        for earlier in ctx.uploads.superseded(receipt.upload_id):
            if earlier.user_hash == receipt.user_hash:
                _erase_earlier(ctx, earlier)
        if receipt.source.key != ERASED_KEY:
            delete_original(ctx, receipt, receipt.source.key)
    delete_copies(ctx, receipt.upload_id)
    if receipt != blank(receipt):
        # last: until here the receipt says where the original lies
        ctx.uploads.write_receipt(blank(receipt))
    _only_current(ctx, ctx.settings.bucket_results, receipt.place())


def delete_copies(ctx: Context, upload_id: str) -> None:
    """All but the reason in quarantine, and what the sweep put aside."""
    quarantine, reason = ctx.settings.bucket_quarantine, keys.reason(upload_id)
    for key in (keys.receipt(upload_id), reason):
        _take_away(ctx, ctx.settings.bucket_archive, keys.damaged(key))
    _take_away(ctx, quarantine, f"{upload_id}/", lambda info: info.key != reason)
    _only_current(ctx, quarantine, reason)


def delete_original(ctx: Context, receipt: Receipt, key: str) -> None:
    """What was uploaded, unless something else, or somebody else's, lies at its key by
    now.
    """
    source = receipt.source

    def is_it(info: ObjectInfo) -> bool:
        if source.version or version_of(info.version) or info.etag != source.etag:
            return bool(source.version) and info.version == source.version
        with suppress(NotFound):
            found = ctx.store.head(source.bucket, key, info.version)
            return (
                upload_options.user_hash(key, found.metadata, ctx.settings)
                == receipt.user_hash
            )
        return False

    kept = [
        info for info in ctx.store.every_version(source.bucket, key) if info.key == key
    ]
    gone = [info for info in kept if is_it(info)]
    if all(info in gone or info.is_marker for info in kept):
        gone = kept  # a marker keeps the name
    for info in gone:
        ctx.store.delete(info.bucket, info.key, info.version)


def _erase_earlier(ctx: Context, earlier: Superseded) -> None:
    """What was made of an upload whose receipt was written over."""
    end(ctx, blank(earlier), Code.ERASED)
    if earlier.task_id:
        record = ctx.uploads.readable_record(earlier.task_id)
        # Else another upload of the photo has its result there.
        if record is None or record.ref == earlier.ref:
            take_away_results(ctx, earlier.task_id)
    take_away_upload(ctx, earlier)


def _erase_previews(ctx: Context, photo: Receipt) -> None:
    """Looks ahead are pictures of it, too."""
    for info in list(
        ctx.store.list(
            ctx.settings.bucket_results, keys.receipt_prefix(photo.upload_id)
        )
    ):
        with suppress(NotFound):
            receipt = Receipt.from_bytes(
                ctx.store.read(info.bucket, info.key), info.key
            )
            erase(ctx, receipt.task_id or "", [receipt])


def _take_away(
    ctx: Context,
    bucket: str,
    prefix: str,
    doomed: Callable[[ObjectInfo], bool] = lambda _: True,
) -> None:
    """What is kept under a prefix, in all versions."""
    for info in list(ctx.store.every_version(bucket, prefix)):
        if doomed(info):
            ctx.store.delete(bucket, info.key, info.version)


def _only_current(ctx: Context, bucket: str, key: str) -> None:
    """Of a document that was written anew, what it said before."""
    try:
        current = version_of(ctx.store.head(bucket, key).version)
    except NotFound:
        _take_away(ctx, bucket, key, lambda info: info.key == key)
        return

    def is_earlier(info: ObjectInfo) -> bool:
        return info.key == key and version_of(info.version) != current

    _take_away(ctx, bucket, key, is_earlier)
