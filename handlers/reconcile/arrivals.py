"""A look at what was uploaded of late, between two whole passes.

Finds: new uploads that are older than a lease and have no receipt. Does: gives them to
`on_upload`. Safe to repeat: `on_upload` finds what was decided before.

New uploads lie among all others, in the order of their keys, so `uploads` is listed
whole; where the bucket keeps no versions this is done in ranges at the same time, whose
bounds are known from the look before. Nothing else is listed, and the receipt of an
upload is looked up once, when the upload is new. So a look costs one request for each
thousand uploads and one for each new one, however many receipts, results and reasons
were ever stored.

An object's time may be older than its arrival: that of a multipart upload is the time
of its beginning. Such an upload is looked up however late it is completed. What else
comes with an old time (copies by the store itself, replicas) is found by the next whole
pass, and so is everything that a restarted process does not remember.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import AwareDatetime

from handlers.context import Context
from handlers.reconcile.isolation import Isolation, check_store
from handlers.reconcile.pass_context import chunks
from handlers.reconcile.report import Look
from handlers.reconcile.uploads import decide
from handlers.reconcile.watermark import MARGIN
from shared.runtime.telemetry import logger
from shared.s3.store import ObjectInfo
from shared.uploads import keys
from shared.uploads.documents import Document
from shared.uploads.ref import upload_id_of

READERS = 8
RANGE = 10_000
"""Objects of one range: ten pages."""
MOST_FAILED = 10_000
"""Uploads that met an error and are tried at each look; more are left to the pass."""

UploadVersion = tuple[str, str, datetime]
"""Key, version or ETag, and time: one upload."""


class Looked(Document):
    """`sweep/arrivals.json`: every upload with an older time was seen to have its
    receipt.
    """

    since: AwareDatetime | None = None


@dataclass
class _Range:
    """What was listed of one range: the number of uploads, the keys at which to divide
    it, and the uploads to look up.
    """

    uploads: int = 0
    bounds: list[str] = field(default_factory=list)
    new: list[ObjectInfo] = field(default_factory=list)


@dataclass(frozen=True)
class _Times:
    """Uploads with a time from `since` on are new, and so are multipart uploads that
    began after `multipart_since`.
    """

    now: datetime
    since: datetime
    multipart_since: datetime

    def is_new(self, info: ObjectInfo) -> bool:
        if info.last_modified >= self.since:
            return True
        is_multipart = "-" in info.etag
        return is_multipart and info.last_modified >= self.multipart_since


class Arrivals:
    """The looks of one process. Its memory makes a look cheap, and is needed for
    nothing else.
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._since: datetime | None = None
        self._bounds: list[str] = []
        self._decided: set[UploadVersion] = set()
        self._failed: set[UploadVersion] = set()

    def look(self) -> Look:
        """Look once. Raises `StorageUnavailable`: the next look begins where this one
        began.
        """
        started_s = self._ctx.clock.monotonic()
        times = self._times()
        look = Look()
        isolation = Isolation(self._ctx)
        with ThreadPoolExecutor(READERS, "arrivals") as executor:
            ranges = self._list_all(times, executor)
            look.uploads = sum(found.uploads for found in ranges)
            self._decide_all(ranges, look, isolation, executor)
        self._bounds = _bounds_of(ranges, look.uploads)
        self._save(times.now)
        look.failed = isolation.take_failed()
        look.seconds = round(self._ctx.clock.monotonic() - started_s, 3)
        logger().info("sweep.looked", **look.printed())
        return look

    def _times(self) -> _Times:
        settings = self._ctx.settings
        now = self._now()
        since = now if self._since is None else min(self._since, now)
        multipart_since = now - timedelta(seconds=settings.multipart_max_age_s)
        return _Times(now, since, min(since, multipart_since))

    def _now(self) -> datetime:
        """Return the store's own time. A restarted process reads how far the looks had
        come.
        """
        results = self._ctx.settings.bucket_results
        try:
            with self._ctx.store.open(results, keys.ARRIVALS) as stream:
                now: datetime = stream.info.served_at or stream.info.last_modified
                if self._since is None:
                    data = b"".join(stream.chunks())
                    self._since = Looked.from_bytes(data, keys.ARRIVALS).since
        except Exception:
            # There was no look yet, or the document is damaged. The whole pass of every
            # restarted process finds what was uploaded before.
            check_store(self._ctx)
            now = self._ctx.clock.now()
        return now

    def _save(self, now: datetime) -> None:
        lease = timedelta(seconds=self._ctx.settings.lease_s)
        self._since = now - MARGIN - lease
        data = Looked(since=self._since).to_bytes()
        results = self._ctx.settings.bucket_results
        try:
            self._ctx.store.put(results, keys.ARRIVALS, data, "application/json")
        except Exception:
            check_store(self._ctx)  # otherwise nothing depends on this one object

    def _list_all(self, times: _Times, executor: ThreadPoolExecutor) -> list[_Range]:
        bounds = frozenset(self._bounds)

        def list_from(start: str) -> _Range:
            return self._list(start, bounds, times)

        return list(executor.map(list_from, ["", *self._bounds]))

    def _list(self, start: str, bounds: frozenset[str], times: _Times) -> _Range:
        """List from `start` up to the next bound, which is known by its key alone: not
        every store sorts as we do.
        """
        found = _Range()
        uploads = self._ctx.settings.bucket_uploads
        for info in self._ctx.store.list_versions(uploads, start):
            found.uploads += 1
            # Buckets with versions are listed in one go.
            if found.uploads % RANGE == 0 and info.version is None:
                found.bounds.append(info.key)
            is_folder = info.key.endswith("/")
            is_wanted = times.is_new(info) or _version_of(info) in self._failed
            if is_wanted and not is_folder:
                found.new.append(info)
            if info.key in bounds:
                found.bounds.append(info.key)
                break
        return found

    def _decide_all(
        self,
        ranges: Sequence[_Range],
        look: Look,
        isolation: Isolation,
        executor: ThreadPoolExecutor,
    ) -> None:
        """Decide on the new uploads that have no receipt."""
        new = {_version_of(info): info for found in ranges for info in found.new}
        decided = self._decided & new.keys()
        failed: set[UploadVersion] = set()
        unknown = (info for version, info in new.items() if version not in decided)
        for infos in chunks(unknown):
            look.new += len(infos)
            outcomes = isolation.run_each(
                "arrivals", executor, self._is_missed, infos, upload_id_of
            )
            for info, is_missed in outcomes:
                if isinstance(is_missed, Exception):
                    failed.add(_version_of(info))
                elif is_missed is not None:
                    decided.add(_version_of(info))
                    look.notifications_missed += is_missed
        self._decided = decided
        self._failed = failed if len(failed) <= MOST_FAILED else set()

    def _is_missed(self, info: ObjectInfo) -> bool | None:
        """Return whether the upload had no receipt, and has one now. None: its
        notification may still be on its way.
        """
        ctx = self._ctx
        receipt = ctx.uploads.receipt_info(upload_id_of(info))
        # An upload younger than its receipt: the same bytes were put again at the same
        # key, which is another upload.
        if receipt is not None and receipt.last_modified >= info.last_modified:
            return False
        if info.age_s <= ctx.settings.lease_s:
            return None
        decide(ctx, info)
        return True


def _version_of(info: ObjectInfo) -> UploadVersion:
    return info.key, info.version or info.etag, info.last_modified


def _bounds_of(ranges: Sequence[_Range], uploads: int) -> list[str]:
    """Return the bounds for the next look: about as many as there are full ranges."""
    bounds = sorted({bound for found in ranges for bound in found.bounds})
    step = math.ceil(len(bounds) * RANGE / max(uploads, 1))
    step = max(1, step)
    return bounds[step - 1 :: step]
