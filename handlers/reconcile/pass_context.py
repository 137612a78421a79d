"""What the stages of one pass share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TypeVar

from handlers.context import Context
from handlers.reconcile.isolation import Isolation, ident_of
from handlers.reconcile.report import SweepReport
from handlers.reconcile.watermark import Watermarks
from shared.errors import NotFound
from shared.s3.store import ObjectInfo

CHUNK = 500
"""Objects handled together. It bounds what is read ahead, and what the audit log is
asked at once.
"""

T = TypeVar("T")


@dataclass
class PassContext:
    """One pass. `since`: only younger objects count. `executor` reads documents at the
    same time.
    """

    ctx: Context
    watermarks: Watermarks
    report: SweepReport
    executor: ThreadPoolExecutor
    since: datetime | None
    isolation: Isolation

    def __post_init__(self) -> None:
        self.store = self.ctx.store
        self.settings = self.ctx.settings
        self.uploads = self.ctx.uploads
        self.publisher = self.ctx.publisher

    @property
    def dry_run(self) -> bool:
        return self.report.dry_run

    def read_all(
        self,
        infos: Sequence[ObjectInfo],
    ) -> Iterator[tuple[ObjectInfo, bytes]]:
        """Yield these objects with their content, in order.

        Deleted objects are left out, and so are, until the next pass, those that cannot
        be read. Deleted is only what is no longer listed: a store may refuse for a while
        an object that it lists.
        """
        found = self.isolation.run_each(
            "read", self.executor, self._read, infos, ident_of
        )
        for info, data in found:
            if isinstance(data, bytes):
                yield info, data
            else:
                self.read_again(info)

    def read_again(self, info: ObjectInfo) -> None:
        """Have the next pass read this document, whichever process makes that pass."""
        self.watermarks.unread(info.last_modified)

    def _read(self, info: ObjectInfo) -> bytes | None:
        try:
            return self.store.read(info.bucket, info.key)
        except NotFound:
            return None


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """Yield the items in lists of `CHUNK`."""
    rest = iter(items)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk
