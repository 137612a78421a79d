"""A look at what was uploaded of late, between two whole passes: nothing of it may lack
a receipt.

New uploads lie among all others, in the order of their keys, so `uploads` is listed
whole; where the bucket keeps no versions in ranges, side by side, which are known from
the look before. Nothing else is listed, and the receipt of an upload is asked for once,
when the upload is new. So a look costs one request for each thousand uploads and one
for each new one, whatever receipts, results and reasons were ever stored.

An object's time may be older than its arrival: of an upload in parts it is that of its
beginning. Such a one is asked about, however late it is completed. What else comes with
a time of long ago (copies by the store itself, replicas) is found by the next whole
pass, and so is everything where this process forgets what it knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import AwareDatetime

from handlers.context import Context
from handlers.reconcile.isolation import Apart, store_answers
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
"""Uploads that met a fault and are tried at each look; more are left to the whole pass.
"""

Known = tuple[str, str, datetime]
"""Key, version or ETag, and time: one upload."""


class Looked(Document):
    """`sweep/arrivals.json`: every upload with an older time was seen to have its
    receipt.
    """

    since: AwareDatetime | None = None


@dataclass
class _Range:
    """What was listed of one range: how much, the keys at which to divide it, and what
    must be asked about.
    """

    uploads: int = 0
    bounds: list[str] = field(default_factory=list)
    new: list[ObjectInfo] = field(default_factory=list)


class Arrivals:
    """Of one process, whose memory makes a look cheap, and is needed for nothing else."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._since: datetime | None = None
        self._bounds: list[str] = []
        self._decided: set[Known] = set()
        self._failed: set[Known] = set()

    def look(self) -> Look:
        """Raises `StorageUnavailable`: the next look begins where this one began."""
        started = self._ctx.clock.monotonic()
        now = self._begin()
        look, apart = Look(), Apart(self._ctx)
        with ThreadPoolExecutor(READERS, "arrivals") as pool:
            starts = ["", *self._bounds]
            ranges = list(
                pool.map(
                    lambda start: self._list(start, frozenset(self._bounds), now),
                    starts,
                )
            )
            look.uploads = sum(found.uploads for found in ranges)
            decided, failed = set[Known](), set[Known]()
            new = {_known(info): info for found in ranges for info in found.new}
            for listed in chunks(
                info for known, info in new.items() if known not in self._decided
            ):
                for info, missed in apart.each(
                    "arrivals", pool, self._is_missed, listed, upload_id_of
                ):
                    if isinstance(missed, Exception):
                        failed.add(_known(info))
                    elif missed is not None:
                        decided.add(_known(info))
                        look.notifications_missed += missed
                look.new += len(listed)
        self._decided = decided | (self._decided & new.keys())
        self._failed = failed if len(failed) <= MOST_FAILED else set()
        self._bounds = _thinned(
            sorted({bound for found in ranges for bound in found.bounds}), look.uploads
        )
        self._end(now)
        look.failed, look.seconds = (
            apart.taken(),
            round(self._ctx.clock.monotonic() - started, 3),
        )
        logger().info("sweep.looked", **look.printed())
        return look

    def _begin(self) -> datetime:
        """The store's own time. A fresh process learns how far the looks have come."""
        try:
            with self._ctx.store.open(
                self._ctx.settings.bucket_results, keys.ARRIVALS
            ) as stream:
                now: datetime = stream.info.served_at or stream.info.last_modified
                if self._since is None:
                    self._since = Looked.from_bytes(
                        b"".join(stream.chunks()), keys.ARRIVALS
                    ).since
        # nobody looked yet, or it is damaged: the whole pass of every fresh process
        # sees to the rest
        except Exception:
            store_answers(self._ctx)
            now = self._ctx.clock.now()
        return now

    def _end(self, now: datetime) -> None:
        self._since = now - MARGIN - timedelta(seconds=self._ctx.settings.lease_s)
        data = Looked(since=self._since).to_bytes()
        try:
            self._ctx.store.put(
                self._ctx.settings.bucket_results,
                keys.ARRIVALS,
                data,
                "application/json",
            )
        except Exception:
            store_answers(self._ctx)  # else nothing depends on this one object

    def _list(self, start: str, bounds: frozenset[str], now: datetime) -> _Range:
        """From `start` up to the next bound, which is known by its key alone: not every
        store sorts as we do.
        """
        found, settings = _Range(), self._ctx.settings
        since = now if self._since is None or self._since > now else self._since
        parts_since = min(since, now - timedelta(seconds=settings.multipart_max_age_s))
        for info in self._ctx.store.list_versions(settings.bucket_uploads, start):
            found.uploads += 1
            # versions are listed in one go
            if found.uploads % RANGE == 0 and info.version is None:
                found.bounds.append(info.key)
            begun_long_ago = "-" in info.etag and info.last_modified >= parts_since
            is_new = (
                info.last_modified >= since
                or begun_long_ago
                or _known(info) in self._failed
            )
            if is_new and not info.key.endswith("/"):
                found.new.append(info)
            if info.key in bounds:
                found.bounds.append(info.key)
                break
        return found

    def _is_missed(self, info: ObjectInfo) -> bool | None:
        """Whether the upload had no receipt, and has one now. None: its notification
        may still be on its way.
        """
        ctx = self._ctx
        receipt = ctx.uploads.receipt_info(upload_id_of(info))
        # Younger than its receipt: the same bytes were put again at the same key, which
        # is another upload.
        if receipt is not None and receipt.last_modified >= info.last_modified:
            return False
        if info.age_s <= ctx.settings.lease_s:
            return None
        decide(ctx, info)
        return True


def _known(info: ObjectInfo) -> Known:
    return info.key, info.version or info.etag, info.last_modified


def _thinned(bounds: Sequence[str], uploads: int) -> list[str]:
    """Of many bounds, as many as there are ranges."""
    step = max(1, -(-len(bounds) * RANGE // max(uploads, 1)))
    return list(bounds[step - 1 :: step])
