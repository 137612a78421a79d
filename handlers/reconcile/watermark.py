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
"""Documents read between two writes of the cursor."""
MARGIN = timedelta(seconds=2)
"""Object times come in whole seconds."""


class Watermark(Document):
    """`sweep/state.json`."""

    since: datetime | None = None
    cursor: str = ""
    ahead: datetime | None = None


class Watermarks:
    """The watermark during one pass, which began at `now` by the store's clock.

    `reread`: where a next pass must read from that remembers what this one found
    unsettled.
    """

    def __init__(
        self,
        store: ObjectStore,
        bucket: str,
        stored: Watermark,
        now: datetime,
        save: bool,
    ) -> None:
        self._store = store
        self._bucket = bucket
        self._save = save
        self._now = now
        if self._is_ahead(stored.since) or self._is_ahead(stored.ahead):
            stored = Watermark()
        self._stored = stored
        self._from = stored
        self._until = now - MARGIN
        self.reread = self._until
        self._read = 0

    @classmethod
    def open(cls, store: ObjectStore, bucket: str, dry_run: bool) -> Watermarks:
        """Begin where the last pass ended."""
        try:
            with store.open(bucket, keys.SWEEP) as stream:
                stored = Watermark.from_bytes(b"".join(stream.chunks()), keys.SWEEP)
                now = stream.info.served_at or stream.info.last_modified
                return cls(store, bucket, stored, now, not dry_run)
        except Exception:
            # Raises `StorageUnavailable` where it is not this object alone.
            next(iter(store.list(bucket, keys.SWEEP)), None)
        # There was no pass yet, or the document is damaged: everything is looked at.
        stored = Watermark()
        written = None if dry_run else _write(store, bucket, stored)
        if written is None:
            return cls(store, bucket, stored, EPOCH + MARGIN, save=False)
        return cls(store, bucket, stored, written.last_modified, save=True)

    def begin_at(self, since: datetime) -> None:
        """Look only at documents from `since` on, whatever the stored watermark says."""
        self._from = Watermark(since=None if self._is_ahead(since) else since)

    def is_new(self, info: ObjectInfo, changed: datetime | None = None) -> bool:
        """Return whether this document must be read, because it, or what belongs to it,
        was `changed`.
        """
        is_before_cursor = info.key <= self._from.cursor
        since = self._from.ahead if is_before_cursor else self._from.since
        return since is None or (changed or info.last_modified) >= since

    def is_since(self, changed: datetime) -> bool:
        """Return whether that was after the last whole pass."""
        return self._from.since is None or changed >= self._from.since

    def unsettled(self, written: datetime) -> None:
        """A document of this time is not settled: a process that remembers nothing must
        read from there.
        """
        self._until = min(self._until, written)

    def unread(self, written: datetime) -> None:
        """A document of this time could not be read: every process must read from
        there.
        """
        self.unsettled(written)
        self.reread = min(self.reread, written)

    def passed(self, key: str, documents: int) -> None:
        """So many more documents were read, and all keys up to this one are done."""
        self._read += documents
        if self._read >= SAVE_EVERY and key > self._stored.cursor:
            self._read = 0
            since = self._stored.since
            self._write(Watermark(since=since, cursor=key, ahead=self._until))

    def finished(self) -> None:
        """The pass is complete."""
        self._write(Watermark(since=self._until))

    def _is_ahead(self, moment: datetime | None) -> bool:
        """Return whether a time was written while the store's clock was wrong.

        Everything uploaded since the clock was set right would seem older than that.
        """
        return moment is not None and EPOCH + MARGIN < self._now < moment

    def _write(self, mark: Watermark) -> None:
        if self._save:
            _write(self._store, self._bucket, mark)


def _write(store: ObjectStore, bucket: str, mark: Watermark) -> ObjectInfo | None:
    """None: the store refuses this one object, so every pass reads everything, and does
    all else as ever.
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
