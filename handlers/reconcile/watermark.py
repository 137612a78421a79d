"""How far the sweep has come, kept in the bucket: a pass reads only the documents that
are new since the last one.

Everything listed with a time before `since` was seen to be settled. While a pass is
under way, the same holds for `ahead` and all keys up to `cursor`, so that a pass over a
million documents goes on where it was cut off.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from handlers.reconcile.tables import EPOCH
from shared.runtime.telemetry import logger, raised_at
from shared.s3.store import ObjectInfo, ObjectStore
from shared.uploads import keys
from shared.uploads.documents import Document

SAVE_EVERY = 5_000
"""Documents read between two notes of the cursor."""
MARGIN = timedelta(seconds=2)
"""Object times come in whole seconds."""


class Watermark(Document):
    since: datetime | None = None
    cursor: str = ""
    ahead: datetime | None = None


class Marks:
    """The watermark during one pass, which began at `now` by the store's clock."""

    def __init__(
        self,
        store: ObjectStore,
        bucket: str,
        stored: Watermark,
        now: datetime,
        save: bool,
    ) -> None:
        self._store, self._bucket, self._save, self._now = store, bucket, save, now
        if self._is_ahead(stored.since) or self._is_ahead(stored.ahead):
            stored = Watermark()
        self._stored = self._from = stored
        self._until = now - MARGIN
        self.reread = self._until
        """Where a next pass must read from that remembers what this one found
        unsettled.
        """
        self._read = 0

    @classmethod
    def open(cls, store: ObjectStore, bucket: str, dry_run: bool) -> Marks:
        """From where the last pass ended."""
        try:
            with store.open(bucket, keys.SWEEP) as stream:
                stored = Watermark.from_bytes(b"".join(stream.chunks()), keys.SWEEP)
                return cls(
                    store,
                    bucket,
                    stored,
                    stream.info.served_at or stream.info.last_modified,
                    not dry_run,
                )
        except Exception:
            # raises where it is not this object alone
            next(iter(store.list(bucket, keys.SWEEP)), None)
            stored = Watermark()  # never swept, or damaged: everything is looked at
        if not dry_run and (written := _written(store, bucket, stored)):
            return cls(store, bucket, stored, written.last_modified, save=True)
        return cls(store, bucket, stored, EPOCH + MARGIN, save=False)

    def begin_at(self, since: datetime) -> None:
        """Look only at documents from `since` on, whatever the stored watermark says."""
        self._from = Watermark(since=None if self._is_ahead(since) else since)

    def _is_ahead(self, moment: datetime | None) -> bool:
        """Noted when the store's clock was ahead, which was put right: all that came
        since would be older than that.
        """
        return moment is not None and EPOCH + MARGIN < self._now < moment

    def is_new(self, info: ObjectInfo, changed: datetime | None = None) -> bool:
        """Whether this document must be read, as it, or what belongs to it, was
        `changed`.
        """
        since = self._from.ahead if info.key <= self._from.cursor else self._from.since
        return since is None or (changed or info.last_modified) >= since

    def is_since(self, changed: datetime) -> bool:
        """Whether that was after the last whole pass."""
        return self._from.since is None or changed >= self._from.since

    def unsettled(self, written: datetime) -> None:
        """A document of this time is not settled: who remembers nothing must read from
        there.
        """
        self._until = min(self._until, written)

    def unread(self, written: datetime) -> None:
        """A document of this time could not be read: everybody must read from there."""
        self.unsettled(written)
        self.reread = min(self.reread, written)

    def passed(self, key: str, documents: int) -> None:
        """So many documents more were read; all keys up to this one are done."""
        self._read += documents
        if self._read >= SAVE_EVERY and key > self._stored.cursor:
            self._read = 0
            self._write(
                Watermark(since=self._stored.since, cursor=key, ahead=self._until)
            )

    def finished(self) -> None:
        """The pass is complete."""
        self._write(Watermark(since=self._until))

    def _write(self, mark: Watermark) -> None:
        if self._save:
            _written(self._store, self._bucket, mark)


def _written(store: ObjectStore, bucket: str, mark: Watermark) -> ObjectInfo | None:
    """None: the store does not take this one object, so that every pass reads
    everything; it can do all else.
    """
    try:
        return store.put(bucket, keys.SWEEP, mark.to_bytes(), "application/json")
    except Exception as error:
        next(iter(store.list(bucket, keys.SWEEP)), None)
        logger().error(
            "sweep.object_failed",
            stage="marks",
            object="",
            error=type(error).__name__,
            where=raised_at(error),
        )
        return None
