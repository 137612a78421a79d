"""What the stages of one pass share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TypeVar

from handlers.context import Context
from handlers.reconcile.isolation import Apart, ident_of
from handlers.reconcile.report import SweepReport
from handlers.reconcile.watermark import Marks
from shared.errors import NotFound
from shared.s3.store import ObjectInfo

CHUNK = 500
"""Objects looked at together: bounds what is read ahead and what is asked of the audit log
at once.
"""

T = TypeVar("T")


@dataclass
class Work:
    """`since`: look only at what is younger. `pool` reads documents side by side."""

    ctx: Context
    marks: Marks
    report: SweepReport
    pool: ThreadPoolExecutor
    since: datetime | None
    apart: Apart

    @property
    def dry_run(self) -> bool:
        return self.report.dry_run

    def read(self, infos: Sequence[ObjectInfo]) -> Iterator[tuple[ObjectInfo, bytes]]:
        """These objects, in order. What is gone is left out, and so is, until the next
        pass, what cannot be read.

        Gone is what is no longer listed: a store may deny for a while what it lists.
        """
        for info, data in self.apart.each(
            "read", self.pool, self._read, infos, ident_of
        ):
            if isinstance(data, bytes):
                yield info, data
            else:
                self.again(info)

    def again(self, info: ObjectInfo) -> None:
        """This document is to be read by the next pass, too, whoever makes it."""
        self.marks.unread(info.last_modified)

    def _read(self, info: ObjectInfo) -> bytes | None:
        try:
            return self.ctx.store.read(info.bucket, info.key)
        except NotFound:
            return None


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk
