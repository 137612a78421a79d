"""What the stages of one pass share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TypeVar

from handlers.context import Context
from handlers.report import SweepReport
from handlers.sweep.marks import Marks
from shared.errors import NotFound, StorageUnavailable
from shared.storage import ObjectInfo

CHUNK = 500
"""Objects looked at together: bounds what is read ahead and what is asked of the diary at once."""

T = TypeVar("T")


@dataclass
class Work:
    """`since`: look only at what is younger. `pool` reads documents side by side."""

    ctx: Context
    marks: Marks
    report: SweepReport
    pool: ThreadPoolExecutor
    since: datetime | None

    @property
    def dry_run(self) -> bool:
        return self.report.dry_run

    def read(self, infos: Sequence[ObjectInfo]) -> Iterator[tuple[ObjectInfo, bytes]]:
        """These objects, in order. What is gone is left out, and so is, until the next pass, what cannot be read."""
        for info, data in zip(infos, self.pool.map(self._read, infos), strict=True):
            if isinstance(data, bytes):
                yield info, data
            elif data is not None:
                # One object that its server cannot give must not hide all that come after it.
                self.report.failed += 1
                self.marks.unread(info.last_modified)

    def _read(self, info: ObjectInfo) -> bytes | StorageUnavailable | None:
        try:
            return self.ctx.store.read(info.bucket, info.key)
        except NotFound:
            return None
        except StorageUnavailable as error:
            return error


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk
