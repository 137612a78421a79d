"""What a sweep must remember of a million objects, in tens of bytes apiece instead of
hundreds.
"""

from __future__ import annotations

import re
import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from shared.broker.topology import restore_queue
from shared.uploads.ref import UploadRef

ID_BYTES = 16
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def packed(ident: str) -> bytes:
    """An id of ours, or any text, as 16 bytes; `b""` for what is no id."""
    return bytes.fromhex(ident.replace("-", "")) if _ID.fullmatch(ident) else b""


def text(ident: bytes) -> str:
    return str(UUID(bytes=ident))


def micros(moment: datetime) -> int:
    """Microseconds since 1970, exactly; a time without a zone is UTC."""
    return (
        (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH
    ) // timedelta(microseconds=1)


def moment(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=us)


class Ids:
    """Ids with a time each: 24 bytes apiece, found by bisection. They are added in
    ascending order, as listed.
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
        """The number of an id in the table; None: it was not added."""
        place = bisect_left(self, ident)
        return place if place < len(self) and self[place] == ident else None

    def when(self, ident: bytes) -> datetime | None:
        """The time that was added with an id; None: it was not added."""
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
        return restore_queue("interactive" if self.interactive else "bulk", self.lane)


class Unsettled:
    """Receipts whose end is not in sight, ascending by upload: 50 bytes apiece."""

    _LAYOUT = struct.Struct("16s16sqqH")

    def __init__(self) -> None:
        self._data = bytearray()

    def add(self, entry: Entry) -> None:
        flags = (
            entry.interactive
            | entry.queued << 1
            | bool(entry.task) << 2
            | entry.lane << 3
            | entry.callback << 8
        )
        times = micros(entry.written), micros(entry.upload_time)
        self._data += self._LAYOUT.pack(entry.upload, entry.task, *times, flags)

    def __len__(self) -> int:
        return len(self._data) // self._LAYOUT.size

    def __iter__(self) -> Iterator[Entry]:
        for upload, task, written, upload_time, flags in self._LAYOUT.iter_unpack(
            self._data
        ):
            yield Entry(
                upload,
                task if flags & 4 else b"",
                moment(written),
                moment(upload_time),
                bool(flags & 1),
                bool(flags & 2),
                flags >> 3 & 31,
                bool(flags & 256),
            )
