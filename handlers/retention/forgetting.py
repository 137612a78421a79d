"""Deletes what the rules cover, in an order after which no old photo is restored anew.

`docs/explanation/retention.md` says why each object is kept for as long as another one
needs it. In short: an original goes once its photo has ended; a receipt once nothing of
its photo is left; a result once no original of its task is; and what is not known well
enough stays. Each run may be cut off anywhere, and the next one goes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol
from uuid import UUID

from handlers.context import Context
from handlers.intake.original import delete_original
from handlers.reconcile.isolation import Isolation
from handlers.retention.report import RetentionReport
from handlers.retention.rules import Facts, Rules, What
from handlers.webhooks.call_log import CallLog
from shared.errors import NotFound
from shared.runtime.failpoints import passing
from shared.runtime.telemetry import logger
from shared.s3.store import ObjectInfo
from shared.uploads import keys
from shared.uploads.documents import Receipt, Record, Run
from shared.uploads.ref import upload_id_of, version_of

MOST = 10_000
"""Most objects of a kind deleted in one run."""

HELD = "a legal hold"
NO_RECEIPT = "it has no receipt"
WAITING = "its photo has not ended"
ORIGINAL = "the original is there"
COPY = "quarantine has a copy"
RESULT = "the result is there"
EARLIER = "another upload had its key"
VERSIONS = "the bucket keeps an earlier version that must stay"
YOUNG = "another upload of the photo is younger"
UNKNOWN = "the audit log does not know its uploads"
NO_LOG = "there is no audit log to ask for its uploads"
STARTABLE = "it may be started again"


class TaskLog(Protocol):
    """What the audit log must tell: which uploads a task has."""

    def uploads_of(self, task_id: UUID | str) -> list[str]: ...


class Forgetting:
    """One run of the rules. `beat` is called for every object looked at."""

    def __init__(
        self,
        ctx: Context,
        rules: Rules,
        log: TaskLog | None,
        *,
        dry_run: bool = False,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._ctx = ctx
        self._rules = rules
        self._log = log
        self._beat = beat
        self._settings = ctx.settings
        self._store = ctx.store
        self._calls = CallLog(
            ctx.store, ctx.settings.bucket_results, ctx.settings.callback_timeout_s
        )
        self._isolation = Isolation(ctx)
        self.report = RetentionReport(dry_run=dry_run)

    def run(self) -> RetentionReport:
        """Raises `StorageUnavailable` and `DatabaseUnavailable`: the next run goes on."""
        settings = self._settings
        results, quarantine = settings.bucket_results, settings.bucket_quarantine
        list_ = self._store.list
        self._each(
            "uploads",
            self._store.list_versions(settings.bucket_uploads),
            self._original,
        )
        self._each("quarantine", list_(quarantine), self._copy)
        self._each("results", list_(results, keys.PROCESSED), self._result)
        self._each("receipts", list_(results, "receipts/"), self._receipt)
        self._each("receipts", list_(quarantine), self._reason_left)
        # After the receipts: one that is written anew for it would be young again.
        self._each("callbacks", list_(results, "callbacks/told/"), self._told)
        self._each("previews", list_(results, "previews/"), self._preview)
        self._each("tiles", list_(results, keys.PYRAMIDS), self._pyramid)
        self._each("tickets", list_(settings.bucket_access, "tickets/"), self._ticket)
        self._each("tickets", list_(results, "refused/"), self._ticket)
        self._each("tickets", list_(results, "comfyui/"), self._ticket)
        self.report.failed = self._isolation.take_failed()
        logger().info("retention.finished", **self.report.model_dump())
        return self.report

    def _each(
        self,
        what: What,
        listed: Iterator[ObjectInfo],
        forget: Callable[[ObjectInfo], str | None],
    ) -> None:
        """Forget each object that is old enough for some rule. `forget` says why one
        stays; "" where no rule is about it.
        """
        least_s = self._rules.youngest_s(what)
        if least_s is None:
            return
        begun = self.report.deleted.get(what, 0)
        for info in listed:
            self._beat()
            if info.age_s < least_s or info.is_marker:
                continue
            self._isolation.run(what, info.key, partial(self._one, what, info, forget))
            if self.report.deleted.get(what, 0) - begun >= MOST:
                self.report.left.append(what)
                return

    def _one(
        self, what: What, info: ObjectInfo, forget: Callable[[ObjectInfo], str | None]
    ) -> None:
        why = forget(info)
        if why is None:
            self.report.add(what, info.bytes)
        elif why:
            self.report.keep(what, why)

    def _covered(self, what: What, info: ObjectInfo, facts: Facts) -> str | None:
        """None: a rule deletes it, and no hold keeps it."""
        if not self._rules.delete(what, facts, info.age_s):
            return ""
        return HELD if self._rules.holds(facts) else None

    # One object of each kind: why it stays, or None

    def _original(self, info: ObjectInfo) -> str | None:
        if info.key.endswith("/"):
            return ""
        upload_id = upload_id_of(info)
        receipt = self._ctx.uploads.readable_receipt(upload_id)
        if receipt is None:
            facts = Facts(key=info.key, upload=upload_id)
            why = self._covered("uploads", info, facts)
            return NO_RECEIPT if why is None else why
        why = self._covered("uploads", info, _facts(receipt))
        if why is not None:
            return why
        if receipt.source.upload_time != info.last_modified:
            return NO_RECEIPT
        if not self._has_ended(receipt):
            return WAITING
        if version_of(info.version) and not self._earlier_may_go(info):
            return VERSIONS
        passing("retention.before_delete")
        if not self.report.dry_run:
            # The earliest go first: one that is uncovered would count as an upload.
            for version in self._versions(info):
                if version.version != info.version and not version.is_marker:
                    self._delete(version)
            delete_original(self._ctx, receipt, info.key)
            self._delete_shown(receipt)
        return None

    def _delete_shown(self, photo: Receipt) -> None:
        """Delete what shows an original that is gone: its pyramids, of every run."""
        runs = self._ctx.uploads.runs(photo.upload_id)
        for task_id in {photo.task_id, *(run.task_id for run in runs)}:
            prefix = keys.pyramids(task_id or "", "original")
            for info in list(self._store.list(self._settings.bucket_results, prefix)):
                self._delete_key(info.bucket, info.key)

    def _copy(self, info: ObjectInfo) -> str | None:
        upload_id, _, name = info.key.partition("/")
        if name == "reason.json" or not name:
            return ""
        receipt = self._ctx.uploads.readable_receipt(upload_id)
        facts = _facts(receipt) if receipt else Facts(upload=upload_id)
        why = self._covered("quarantine", info, facts)
        if why is None:
            self._delete_all(info)
        return why

    def _preview(self, info: ObjectInfo) -> str | None:
        return self._of_task("previews", info)

    def _pyramid(self, info: ObjectInfo) -> str | None:
        return self._of_task("tiles", info)

    def _of_task(self, what: What, info: ObjectInfo) -> str | None:
        """Of what can be made again, and is named by its task."""
        task_id = re.split(r"[.~]", keys.filename(info.key))[0]
        record = self._ctx.uploads.readable_record(task_id)
        facts = _facts_of(record) if record else Facts(task=task_id)
        why = self._covered(what, info, facts)
        if why is None:
            self._delete_all(info)
        return why

    def _told(self, info: ObjectInfo) -> str | None:
        upload_id = info.key.rpartition("/")[2].removesuffix(".json")
        receipt = self._ctx.uploads.readable_receipt(upload_id)
        facts = _facts(receipt) if receipt else Facts(upload=upload_id)
        why = self._covered("callbacks", info, facts)
        if why is not None:
            return why
        if receipt and receipt.callback and not self.report.dry_run:
            # Otherwise the webhook would seem to be lost, and be sent again.
            self._ctx.uploads.write_receipt(
                receipt.model_copy(update={"callback": None})
            )
        passing("retention.before_delete")
        self._delete_all(info)
        return None

    def _ticket(self, info: ObjectInfo) -> str | None:
        why = self._covered("tickets", info, Facts())
        if why is None:
            self._delete_all(info)
        return why

    def _receipt(self, info: ObjectInfo) -> str | None:
        upload_id = info.key.removeprefix("receipts/").removesuffix(".json")
        if "/" in upload_id:
            return ""  # of a preview
        receipt = self._ctx.uploads.receipt(upload_id)
        why = self._covered("receipts", info, _facts(receipt))
        if why is not None:
            return why
        why = self._why_receipt_stays(receipt)
        if why is None and not self.report.dry_run:
            self._forget_receipt(receipt)
        return why

    def _reason_left(self, info: ObjectInfo) -> str | None:
        """A reason whose receipt a run deleted that was cut off."""
        upload_id, _, name = info.key.partition("/")
        if name != "reason.json" or self._ctx.uploads.receipt_info(upload_id):
            return ""
        reason = self._ctx.uploads.reason_if_any(upload_id)
        if reason is None:
            return ""
        facts = Facts(reason.source.key, None, upload_id, reason.task_id)
        why = self._covered("receipts", info, facts)
        if why is None:
            self._delete_all(info)
        return why

    def _result(self, info: ObjectInfo) -> str | None:
        if not info.key.endswith(".json"):
            return ""
        task_id = info.key.removeprefix(keys.PROCESSED).removesuffix(".json")
        record = self._ctx.uploads.record(task_id)
        if record.preview:
            return ""
        why = self._covered("results", info, _facts_of(record))
        if why is not None:
            return why
        if self._log is None:
            return NO_LOG
        known = self._log.uploads_of(task_id)
        if record.upload_id not in known:
            return UNKNOWN
        found = [self._ctx.uploads.readable_receipt(each) for each in known]
        receipts = [each for each in found if each and each.task_id == task_id]
        has_result = self._is_there(keys.result(task_id))
        why = self._why_result_stays(info, record, receipts, has_result)
        if why is None and not self.report.dry_run:
            self._forget_result(info, task_id, receipts, has_result)
        return why

    # What one object waits for

    def _has_ended(self, receipt: Receipt) -> bool:
        uploads = self._ctx.uploads
        runs = uploads.runs(receipt.upload_id)
        if any(uploads.outcome(_receipt_of(run)) is None for run in runs):
            return False
        if receipt.decision == "held":
            return bool(runs)
        return uploads.outcome(receipt) is not None

    def _earlier_may_go(self, current: ObjectInfo) -> bool:
        """Whether every earlier version at the key has ended, and none is held."""
        for version in self._versions(current):
            if version.version == current.version or version.is_marker:
                continue
            receipt = self._ctx.uploads.readable_receipt(upload_id_of(version))
            # Without a receipt it was overwritten before it was looked at.
            facts = _facts(receipt) if receipt else Facts(key=version.key)
            if self._rules.holds(facts) or (receipt and not self._has_ended(receipt)):
                return False
        return True

    def _why_receipt_stays(self, receipt: Receipt) -> str | None:
        uploads = self._ctx.uploads
        if receipt.decision == "held":
            return STARTABLE
        if not self._has_ended(receipt):
            return WAITING
        if self._has_original(receipt):
            return ORIGINAL
        if self._has_copy(receipt.upload_id):
            return COPY
        if uploads.superseded(receipt.upload_id):
            return EARLIER
        record = uploads.record_if_any(receipt.task_id) if receipt.task_id else None
        return RESULT if record and record.ref == receipt.ref else None

    def _why_result_stays(
        self,
        info: ObjectInfo,
        record: Record,
        receipts: list[Receipt],
        has_result: bool,
    ) -> str | None:
        for receipt in receipts:
            facts = _facts(receipt)
            if self._rules.holds(facts):
                return HELD
            # Where the result is gone already, a younger upload is restored anew.
            if has_result and not self._is_old(receipt, info):
                return YOUNG
            if has_result and self._has_original(receipt):
                return ORIGINAL
            if receipt.upload_id == record.upload_id:
                if self._has_copy(receipt.upload_id):
                    return COPY
                if self._ctx.uploads.superseded(receipt.upload_id):
                    return EARLIER
        return None

    def _is_old(self, receipt: Receipt, result: ObjectInfo) -> bool:
        """Whether a rule for results covers an upload, by when it was decided on."""
        now = result.served_at or result.last_modified
        age = now - (receipt.retried_at or receipt.decided_at)
        return self._rules.delete("results", _facts(receipt), age.total_seconds())

    def _has_original(self, receipt: Receipt) -> bool:
        source = receipt.source
        try:
            found = self._store.head(source.bucket, source.key, source.version)
        except NotFound:
            return False
        return found.etag == source.etag

    def _has_copy(self, upload_id: str) -> bool:
        bucket = self._settings.bucket_quarantine
        listed = self._store.list(bucket, f"{upload_id}/")
        return any(info.key != keys.reason(upload_id) for info in listed)

    def _is_there(self, key: str) -> bool:
        try:
            self._store.head(self._settings.bucket_results, key)
        except NotFound:
            return False
        return True

    # Deleting, in the order that leaves no half that the sweep would make whole

    def _forget_receipt(self, receipt: Receipt) -> None:
        results = self._settings.bucket_results
        passing("retention.before_delete")
        if receipt.run_of:
            self._delete_key(results, keys.run(receipt.run_of, receipt.upload_id))
        self._delete_key(results, receipt.place())
        passing("retention.after_receipt")
        self._delete_key(
            self._settings.bucket_quarantine, keys.reason(receipt.upload_id)
        )
        self._delete_key(results, keys.callback_told(receipt.upload_id))

    def _forget_result(
        self, info: ObjectInfo, task_id: str, receipts: list[Receipt], has_result: bool
    ) -> None:
        results = self._settings.bucket_results
        for receipt in receipts:
            is_done = self._is_old(receipt, info) and not self._has_original(receipt)
            if has_result or is_done:
                self._forget_receipt(receipt)
        passing("retention.before_result")
        for prefix in keys.beside(task_id):
            for beside in list(self._store.list(results, prefix)):
                self._delete_key(results, beside.key)
        *parts, record = keys.results(task_id)
        for key in parts:
            self._delete_key(results, key)
        passing("retention.before_record")
        self._delete_key(results, record)

    def _delete_all(self, info: ObjectInfo) -> None:
        if not self.report.dry_run:
            self._delete_key(info.bucket, info.key)

    def _delete_key(self, bucket: str, key: str) -> None:
        """Delete an object in every version."""
        for info in list(self._store.every_version(bucket, key)):
            if info.key == key:
                self._delete(info)

    def _delete(self, info: ObjectInfo) -> None:
        self._store.delete(info.bucket, info.key, info.version)

    def _versions(self, info: ObjectInfo) -> list[ObjectInfo]:
        """Every version at the object's key, the earliest first."""
        listed = self._store.every_version(info.bucket, info.key)
        found = [version for version in listed if version.key == info.key]
        return sorted(found, key=lambda version: version.last_modified)


def _facts(receipt: Receipt) -> Facts:
    return Facts(
        key=receipt.source.key,
        user=receipt.user_hash,
        upload=receipt.upload_id,
        task=receipt.task_id or "",
    )


def _facts_of(record: Record) -> Facts:
    return Facts(record.source.key, record.user_hash, record.upload_id, record.task_id)


def _receipt_of(run: Run) -> Receipt:
    return Receipt.model_validate(run.model_dump())
