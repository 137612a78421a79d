"""Which calls are due and how they ended: small objects in the results bucket, so that
they survive every process.

`callbacks/due/{upload_id}/0000.json` orders a call. Try n is begun by creating
`…/000n.json` (`If-None-Match: *`), so of any number of processes one makes it, and it
is written again with the wait before the next one; a try that its process did not live
to write down is over after a lease. `callbacks/told/{upload_id}.json` is the end of it,
written before the others are deleted. All ages are the store's. Every method raises
`StorageUnavailable`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from shared.errors import NotFound, PermanentError
from shared.runtime.telemetry import logger, raised_at
from shared.s3.store import ObjectInfo, ObjectStore
from shared.uploads import keys
from shared.uploads.documents import Document

Outcome = Literal["delivered", "disabled", "given_up"]
JSON = "application/json"
CLOCK_STEP_S = 1.0  # object times come in whole seconds


class Note(Document):
    """Content of one try. `user`: the pseudonym of whose call it is. `status`,
    `detail`: how it failed.
    """

    host: str
    user: str = ""
    state: Literal["waiting", "calling"]
    wait_s: float = 0.0
    status: int | None = None
    detail: str | None = None


class Told(Document):
    """The end of a call. `disabled`: the receiver answered 410. `given_up`: every try
    failed.
    """

    upload_id: str
    event_id: str
    upload_time: datetime
    outcome: Outcome
    attempts: int
    status: int | None = None
    detail: str | None = None
    at: datetime


@dataclass(frozen=True, order=True)
class Due:
    """A call after `attempt` tries; the next is due in `due_s` seconds."""

    upload_id: str
    host: str
    attempt: int
    due_s: float
    user: str = ""


class Ledger:
    """Used by one thread that looks and any number that write."""

    def __init__(self, store: ObjectStore, bucket: str, timeout_s: float) -> None:
        self._store, self._bucket = store, bucket
        self._lease_s = 2 * timeout_s + CLOCK_STEP_S
        self._read: dict[str, tuple[datetime, str, Note]] = {}

    def order(self, upload_id: str, host: str, user: str) -> Due | None:
        """Ask for a call. None: it was asked for before."""
        new = self._create(upload_id, 0, Note(host=host, user=user, state="waiting"))
        return Due(upload_id, host, 0, 0.0, user) if new else None

    def look(self) -> Iterator[Due]:
        """Every call that is to be made, with its latest try. Reads only notes that
        changed.
        """
        latest: dict[str, ObjectInfo] = {}
        for info in self._store.list(self._bucket, keys.callbacks_due()):
            latest[info.key.removeprefix(keys.callbacks_due()).partition("/")[0]] = info
        known, self._read = self._read, {}
        for upload_id, info in latest.items():
            try:
                due = self._due(upload_id, info, known.get(info.key))
            # of this object alone, or the list raises it for all
            except Exception as error:
                next(iter(self._store.list(self._bucket, info.key)), None)
                logger().error(
                    "callback.unread",
                    error=type(error).__name__,
                    where=raised_at(error),
                )
                continue
            if due:
                yield due

    def _due(
        self, upload_id: str, info: ObjectInfo, seen: tuple[datetime, str, Note] | None
    ) -> Due | None:
        fresh = seen is None or seen[:2] != (info.last_modified, info.etag)
        note = self._note(info) if fresh or seen is None else seen[2]
        if note is None:
            return None
        self._read[info.key] = info.last_modified, info.etag, note
        attempt = int(info.key.rpartition("/")[2].removesuffix(".json"))
        return Due(upload_id, note.host, attempt, self._due_s(note, info), note.user)

    def begin(self, due: Due) -> Due | None:
        """Begin the next try. None: somebody else did."""
        attempt = due.attempt + 1
        new = self._create(
            due.upload_id, attempt, Note(host=due.host, user=due.user, state="calling")
        )
        return (
            Due(due.upload_id, due.host, attempt, self._lease_s, due.user)
            if new
            else None
        )

    def postpone(self, due: Due, wait_s: float, status: int | None, detail: str) -> Due:
        """The try failed; the next is due in `wait_s`."""
        note = Note(
            host=due.host,
            user=due.user,
            state="waiting",
            wait_s=wait_s,
            status=status,
            detail=detail,
        )
        self._store.put(
            self._bucket,
            keys.callback_due(due.upload_id, due.attempt),
            note.to_bytes(),
            JSON,
        )
        return Due(due.upload_id, due.host, due.attempt, wait_s, due.user)

    def finish(self, told: Told) -> None:
        """Write the end down; nothing is due any more."""
        self._store.put(
            self._bucket, keys.callback_told(told.upload_id), told.to_bytes(), JSON
        )
        self.forget(told.upload_id)

    def told(self, upload_id: str) -> Told | None:
        """How the call about an upload ended, if it did. A note that cannot be read is
        none.
        """
        key = keys.callback_told(upload_id)
        try:
            return Told.from_bytes(self._store.read(self._bucket, key), key)
        except PermanentError:
            return None

    def knows(self, upload_id: str, upload_time: datetime) -> bool:
        """Whether the call about this upload is due or done."""
        told = self.told(upload_id)
        if told is not None and told.upload_time == upload_time:
            return True
        return any(self._store.list(self._bucket, keys.callbacks_due(upload_id)))

    def forget(self, upload_id: str) -> None:
        """Nothing is due about this upload."""
        for info in list(self._store.list(self._bucket, keys.callbacks_due(upload_id))):
            self._store.delete(self._bucket, info.key)

    def reopen(self, upload_id: str) -> None:
        """Forget how the call ended, so that it can be made again."""
        self._store.delete(self._bucket, keys.callback_told(upload_id))

    def is_off(self, url: str, user: str) -> bool:
        """Whether the receiver answered to a call of this user that it wants no more of
        them (410).
        """
        try:
            self._store.head(self._bucket, keys.callback_off(url, user))
        except NotFound:
            return False
        return True

    def switch_off(self, url: str, user: str) -> None:
        """No call of this user goes there any more. Whoever else named the address is
        called as before.
        """
        self._store.put(self._bucket, keys.callback_off(url, user), b"{}", JSON)

    def switch_on(self, url: str) -> None:
        """Calls of everybody go there again."""
        name = keys.callback_off(url).rpartition("/")[2]
        for info in list(self._store.list(self._bucket, keys.callbacks_off())):
            if info.key.endswith(f"/{name}"):
                self._store.delete(self._bucket, info.key)

    def _create(self, upload_id: str, attempt: int, note: Note) -> bool:
        return self._store.put_new(
            self._bucket, keys.callback_due(upload_id, attempt), note.to_bytes(), JSON
        )

    def _note(self, info: ObjectInfo) -> Note | None:
        try:
            return Note.from_bytes(self._store.read(self._bucket, info.key), info.key)
        except NotFound:
            return None
        except PermanentError:  # damaged: better one call too many than one too few
            return Note(host="", state="waiting")

    def _due_s(self, note: Note, info: ObjectInfo) -> float:
        return (self._lease_s if note.state == "calling" else note.wait_s) - info.age_s
