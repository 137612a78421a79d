"""What the sweep must remember of a million objects, in tens of bytes each instead of
the hundreds that Python objects take.
"""

from __future__ import annotations

import re
import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import NamedTuple
from uuid import UUID

from shared.broker.topology import Priority, restore_queue
from shared.uploads.ref import UploadRef

ID_BYTES = 16
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def packed(ident: str) -> bytes:
    """Return an id as 16 bytes; `b""` for a text that is no id of ours."""
    return bytes.fromhex(ident.replace("-", "")) if _ID.fullmatch(ident) else b""


def text(ident: bytes) -> str:
    """Return 16 bytes as the id that they were made of."""
    return str(UUID(bytes=ident))


def micros(moment: datetime) -> int:
    """Return exact microseconds since 1970; a time without a zone is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(microseconds=1)


def moment(us: int) -> datetime:
    """Return the time that is so many microseconds after 1970."""
    return EPOCH + timedelta(microseconds=us)


class Ids:
    """Ids with a time: 24 bytes each, found by bisection. They are added in ascending
    order, as the store lists them.
    """

    def __init__(self) -> None:
        self._ids = bytearray()
        self._times = array("q")

    def add(self, ident: bytes, when: datetime) -> None:
        if self._ids and ident <= self[len(self) - 1]:
            raise ValueError("ids are added in ascending order")
        self._ids += ident
        self._times.append(micros(when))

    def place(self, ident: bytes) -> int | None:
        """Return the position of an id in the table, None if it was not added."""
        place = bisect_left(self, ident)
        return place if place < len(self) and self[place] == ident else None

    def when(self, ident: bytes) -> datetime | None:
        """Return the time that was added with an id, None if it was not added."""
        place = self.place(ident)
        return None if place is None else moment(self._times[place])

    def __contains__(self, ident: bytes) -> bool:
        return self.place(ident) is not None

    def __len__(self) -> int:
        return len(self._times)

    def __iter__(self) -> Iterator[bytes]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, place: int) -> bytes:
        return bytes(self._ids[place * ID_BYTES : (place + 1) * ID_BYTES])


class ReceiptFacts(NamedTuple):
    """The yes-or-no facts of a receipt."""

    interactive: bool
    queued: bool
    has_task: bool
    has_callback: bool


_FACTS = [ReceiptFacts(*facts) for facts in product((False, True), repeat=4)]
"""Every combination; its position is the byte that stands for it in `Unsettled`."""
_BYTE_OF = {facts: byte for byte, facts in enumerate(_FACTS)}


@dataclass(frozen=True)
class Entry:
    """What the sweep needs of a receipt. `task` is `b""` where nothing is to be
    restored.
    """

    upload: bytes
    task: bytes
    written: datetime
    upload_time: datetime
    interactive: bool
    queued: bool
    lane: int = 0
    callback: bool = False

    @property
    def ref(self) -> UploadRef:
        """The upload that the receipt is of."""
        return UploadRef(text(self.upload), self.upload_time)

    @property
    def shares(self) -> bool:
        """Whether it is a duplicate: the result was made for another upload."""
        return bool(self.task) and not self.queued

    @property
    def queue(self) -> str:
        """Where its message is, if it has one."""
        priority: Priority = "interactive" if self.interactive else "bulk"
        return restore_queue(priority, self.lane)

    @property
    def facts(self) -> ReceiptFacts:
        has_task = bool(self.task)
        return ReceiptFacts(self.interactive, self.queued, has_task, self.callback)


class Unsettled:
    """Receipts to look at again in the next pass, sorted by upload id: 50 bytes each."""

    _LAYOUT = struct.Struct("16s16sqqBB")
    """Upload, task, written [µs], upload time [µs], facts, lane."""

    def __init__(self) -> None:
        self._data = bytearray()

    def add(self, entry: Entry) -> None:
        """Append an entry; its upload id must be the largest so far."""
        self._data += self._LAYOUT.pack(
            entry.upload,
            entry.task,
            micros(entry.written),
            micros(entry.upload_time),
            _BYTE_OF[entry.facts],
            entry.lane,
        )

    def __len__(self) -> int:
        return len(self._data) // self._LAYOUT.size

    def __iter__(self) -> Iterator[Entry]:
        for row in self._LAYOUT.iter_unpack(self._data):
            upload, task, written, upload_time, byte, lane = row
            facts = _FACTS[byte]
            yield Entry(
                upload=upload,
                task=task if facts.has_task else b"",
                written=moment(written),
                upload_time=moment(upload_time),
                interactive=facts.interactive,
                queued=facts.queued,
                lane=lane,
                callback=facts.has_callback,
            )
