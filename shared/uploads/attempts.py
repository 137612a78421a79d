"""Numbered attempts at one piece of work, kept as small objects in a bucket.

`{prefix}{item}/0001.json` is created with `If-None-Match: *`, so of any number of
processes exactly one begins attempt 1. The number of objects is the number of attempts,
and it survives every crash. Ages are measured by the store's clock alone, because the
clocks of the processes may disagree. Tasks (`shared.uploads.claims`) and webhooks
(`handlers.webhooks.call_log`) both count their attempts in this way.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from shared.errors import NotFound
from shared.s3.store import ObjectInfo, ObjectStore
from shared.uploads.documents import Document

CLOCK_STEP_S = 1.0  # object times come in whole seconds
JSON = "application/json"


class AttemptNote(Document):
    """Content of one attempt's object. `wait_s` is the pause before the next attempt,
    once this one is over.
    """

    IN_PROGRESS: ClassVar[str]
    """The value of `state` while the attempt is being made."""

    state: str
    wait_s: float = 0.0


NoteT = TypeVar("NoteT", bound=AttemptNote)


@dataclass(frozen=True)
class Attempt(Generic[NoteT]):
    """One attempt at `item`, as the store has it."""

    item: str
    number: int
    note: NoteT
    info: ObjectInfo

    @property
    def in_progress(self) -> bool:
        return self.note.state == self.note.IN_PROGRESS

    def due_s(self, lease_s: float) -> float:
        """Seconds until the next attempt may begin; 0 or less means now.

        An attempt that is in progress, and was not written again for a whole lease,
        belongs to a dead process.
        """
        if self.in_progress:
            return lease_s + CLOCK_STEP_S - self.info.age_s
        return self.note.wait_s - self.info.age_s


NoteCache = MutableMapping[str, Attempt[NoteT]]
"""Attempts that were read before, by key."""


class AttemptLog(Generic[NoteT]):
    """All attempts under one prefix. Every method raises `StorageUnavailable`.

    A log that is read again and again reads only what changed; several logs may share
    one `cache`.
    """

    def __init__(
        self,
        store: ObjectStore,
        bucket: str,
        prefix: str,
        note_type: type[NoteT],
        cache: NoteCache[NoteT] | None = None,
    ) -> None:
        self._store = store
        self._bucket = bucket
        self._prefix = prefix
        self._note_type = note_type
        self._cache: NoteCache[NoteT] = {} if cache is None else cache

    def create(self, item: str, number: int, note: NoteT) -> bool:
        """Begin an attempt. False: another process began it first."""
        key = self._key(item, number)
        return self._store.put_new(self._bucket, key, note.to_bytes(), JSON)

    def write(self, item: str, number: int, note: NoteT) -> None:
        """Replace the note of an attempt, which also renews its lease."""
        key = self._key(item, number)
        self._store.put(self._bucket, key, note.to_bytes(), JSON)

    def delete(self, item: str, number: int) -> None:
        self._store.delete(self._bucket, self._key(item, number))

    def clear(self, item: str, count: int) -> None:
        """Delete attempts 1 to `count`, the newest first: while any is left, no
        process begins with attempt 1 again.
        """
        for number in range(count, 0, -1):
            self.delete(item, number)

    def latest(self, item: str) -> Attempt[NoteT] | None:
        """The newest attempt, or None without any. Raises
        `PermanentError(bad_document)` where its note is damaged.
        """
        listed = self._list(f"{self._prefix}{item}/")
        for info in reversed(list(listed)):
            try:
                with self._store.open(self._bucket, info.key) as stream:
                    data = b"".join(stream.chunks())
                    return self._attempt(stream.info, data)
            except NotFound:
                continue  # deleted since the listing
        return None

    def newest(self) -> dict[str, ObjectInfo]:
        """The object of the newest attempt at each item. Objects whose names are not
        those of attempts are left out.
        """
        newest = {}
        for info in self._list(self._prefix):
            newest[self._item(info.key)] = info
        keys = {info.key for info in newest.values()}
        for key in self._cache.keys() - keys:
            del self._cache[key]
        return newest

    def read(self, info: ObjectInfo) -> Attempt[NoteT] | None:
        """The attempt of a listed object, from the cache where it has not changed.
        None: it was deleted meanwhile.

        Raises `PermanentError(bad_document)` where its note is damaged.
        """
        known = self._cache.get(info.key)
        if known and _is_same(known.info, info):
            attempt = self.with_note(info, known.note)
        else:
            try:
                data = self._store.read(self._bucket, info.key)
            except NotFound:
                return None
            attempt = self._attempt(info, data)
        self._cache[info.key] = attempt
        return attempt

    def with_note(self, info: ObjectInfo, note: NoteT) -> Attempt[NoteT]:
        """The attempt of a listed object whose own note is replaced by `note`."""
        number = self._number(info.key)
        assert number is not None
        return Attempt(self._item(info.key), number, note, info)

    def _attempt(self, info: ObjectInfo, data: bytes) -> Attempt[NoteT]:
        return self.with_note(info, self._note_type.from_bytes(data, info.key))

    def _list(self, prefix: str) -> Iterator[ObjectInfo]:
        """The objects of attempts under a prefix, in order."""
        for info in self._store.list(self._bucket, prefix):
            if self._number(info.key) is not None:
                yield info

    def _key(self, item: str, number: int) -> str:
        return f"{self._prefix}{item}/{number:04d}.json"

    def _item(self, key: str) -> str:
        return key.removeprefix(self._prefix).partition("/")[0]

    def _number(self, key: str) -> int | None:
        """The number of the attempt at `key`; None: what lies there is no attempt."""
        _, _, name = key.removeprefix(self._prefix).partition("/")
        digits = name.removesuffix(".json")
        return int(digits) if digits.isdecimal() else None


def _is_same(known: ObjectInfo, info: ObjectInfo) -> bool:
    return known.etag == info.etag and known.last_modified == info.last_modified
