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
from typing import ClassVar, Literal

from shared.errors import NotFound, PermanentError
from shared.runtime.telemetry import logger, raised_at
from shared.s3.store import ObjectInfo, ObjectStore
from shared.uploads import keys
from shared.uploads.attempts import JSON, Attempt, AttemptLog, AttemptNote
from shared.uploads.documents import Document

Outcome = Literal["delivered", "disabled", "given_up"]


class Note(AttemptNote):
    """Content of one try. `user`: the pseudonym of whose call it is. `status`,
    `detail`: how it failed.
    """

    IN_PROGRESS: ClassVar[str] = "calling"

    host: str
    user: str = ""
    state: Literal["waiting", "calling"]
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
        self._store = store
        self._bucket = bucket
        self._lease_s = 2 * timeout_s
        self._attempts = AttemptLog(store, bucket, keys.callbacks_due(), Note)

    def order(self, upload_id: str, host: str, user: str) -> Due | None:
        """Ask for a call. None: it was asked for before."""
        note = Note(host=host, user=user, state="waiting")
        is_new = self._attempts.create(upload_id, 0, note)
        return Due(upload_id, host, 0, 0.0, user) if is_new else None

    def look(self) -> Iterator[Due]:
        """Every call that is to be made, with its latest try. Reads only notes that
        changed.
        """
        for info in self._attempts.newest().values():
            try:
                attempt = self._attempt(info)
            # of this object alone, or the list raises it for all
            except Exception as error:
                next(iter(self._store.list(self._bucket, info.key)), None)
                logger().error(
                    "callback.unread",
                    error=type(error).__name__,
                    where=raised_at(error),
                )
                continue
            if attempt is not None:
                yield self._due(attempt)

    def _due(self, attempt: Attempt[Note]) -> Due:
        note = attempt.note
        due_s = attempt.due_s(self._lease_s)
        return Due(attempt.item, note.host, attempt.number, due_s, note.user)

    def _attempt(self, info: ObjectInfo) -> Attempt[Note] | None:
        try:
            return self._attempts.read(info)
        except PermanentError:  # damaged: better one call too many than one too few
            return self._attempts.with_note(info, Note(host="", state="waiting"))

    def begin(self, due: Due) -> Due | None:
        """Begin the next try. None: somebody else did."""
        attempt = due.attempt + 1
        note = Note(host=due.host, user=due.user, state="calling")
        if not self._attempts.create(due.upload_id, attempt, note):
            return None
        return Due(due.upload_id, due.host, attempt, self._lease_s, due.user)

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
        self._attempts.write(due.upload_id, due.attempt, note)
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
