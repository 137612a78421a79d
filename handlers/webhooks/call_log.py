"""The call log: which webhooks are due and how they ended, as small objects in the
results bucket, so that they survive every process.

`callbacks/due/{upload_id}/0000.json` asks for a webhook. Attempt n begins by creating
`…/000n.json` (`If-None-Match: *`), so only one of any number of processes makes it. The
same object is written again with the wait before the next attempt; an attempt whose
process died before that is over after a lease. `callbacks/told/{upload_id}.json` is the
result, written before the attempts are deleted. All ages are by the store's clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, Literal

from shared.errors import NotFound, PermanentError
from shared.runtime.telemetry import logger, raised_at
from shared.s3.store import ObjectInfo, ObjectStore
from shared.uploads import keys
from shared.uploads.attempts import JSON, Attempt, AttemptLog, AttemptNote
from shared.uploads.documents import Document
from shared.uploads.ref import UploadRef

Outcome = Literal["delivered", "disabled", "given_up"]


class CallNote(AttemptNote):
    """Content of one attempt's object.

    `user` is the pseudonym of the upload's owner. `status` (HTTP) and `detail` say how
    the attempt failed.
    """

    IN_PROGRESS: ClassVar[str] = "calling"

    host: str
    user: str = ""
    state: Literal["waiting", "calling"]
    status: int | None = None
    detail: str | None = None


class CallResult(Document):
    """How a webhook ended: `disabled` after a 410, `given_up` after the last attempt."""

    upload_id: str
    event_id: str
    upload_time: datetime
    outcome: Outcome
    attempts: int
    status: int | None = None
    detail: str | None = None
    at: datetime

    @property
    def ref(self) -> UploadRef:
        """The upload whose end the webhook was about."""
        return UploadRef(self.upload_id, self.upload_time)


@dataclass(frozen=True, order=True)
class PendingCall:
    """A webhook after `attempt` attempts; the next one is due in `due_s` seconds."""

    upload_id: str
    host: str
    attempt: int
    due_s: float
    user: str = ""


class CallLog:
    """`pending` is for one thread, everything else for any number of them.

    Every method raises `StorageUnavailable`.
    """

    def __init__(self, store: ObjectStore, bucket: str, timeout_s: float) -> None:
        self._store = store
        self._bucket = bucket
        self._lease_s = 2 * timeout_s
        self._attempts = AttemptLog(store, bucket, keys.callbacks_due(), CallNote)

    def add(self, upload_id: str, host: str, user: str) -> PendingCall | None:
        """Ask for a webhook. None: it is in the log already."""
        note = CallNote(host=host, user=user, state="waiting")
        if not self._attempts.create(upload_id, 0, note):
            return None
        return PendingCall(upload_id, host, 0, 0.0, user)

    def pending(self) -> Iterator[PendingCall]:
        """Yield every webhook that has not ended, with its latest attempt.

        Only notes that changed since the last call are read.
        """
        for info in self._attempts.newest().values():
            try:
                attempt = self._attempt(info)
            except Exception as error:
                self._log_unread(info, error)
                continue
            if attempt is not None:
                yield self._pending_call(attempt)

    def begin(self, call: PendingCall) -> PendingCall | None:
        """Begin the next attempt. None: another process began it."""
        attempt = call.attempt + 1
        note = CallNote(host=call.host, user=call.user, state="calling")
        if not self._attempts.create(call.upload_id, attempt, note):
            return None
        return replace(call, attempt=attempt, due_s=self._lease_s)

    def postpone(
        self,
        call: PendingCall,
        wait_s: float,
        status: int | None,
        detail: str,
    ) -> PendingCall:
        """Note that the attempt failed and that the next is due in `wait_s`."""
        note = CallNote(
            host=call.host,
            user=call.user,
            state="waiting",
            wait_s=wait_s,
            status=status,
            detail=detail,
        )
        self._attempts.write(call.upload_id, call.attempt, note)
        return replace(call, due_s=wait_s)

    def finish(self, result: CallResult) -> None:
        """Write the result; nothing is due about this upload any more."""
        key = keys.callback_told(result.upload_id)
        self._store.put(self._bucket, key, result.to_bytes(), JSON)
        self.clear(result.upload_id)

    def result(self, upload_id: str) -> CallResult | None:
        """Return how the webhook about an upload ended. None: it has not, or its result
        cannot be read.
        """
        key = keys.callback_told(upload_id)
        try:
            return CallResult.from_bytes(self._store.read(self._bucket, key), key)
        except PermanentError:
            return None

    def has(self, ref: UploadRef) -> bool:
        """Return whether the webhook about this upload is pending or has ended."""
        result = self.result(ref.upload_id)
        if result is not None and result.ref == ref:
            return True
        return self.is_due(ref.upload_id)

    def is_due(self, upload_id: str) -> bool:
        """Return whether a webhook about this upload, or job, is pending."""
        return any(self._listed(upload_id))

    def clear(self, upload_id: str) -> None:
        """Delete all attempts, so that nothing is due about this upload."""
        for info in list(self._listed(upload_id)):
            self._store.delete(self._bucket, info.key)

    def reopen(self, upload_id: str) -> None:
        """Delete the result, so that the webhook can be sent again."""
        self._store.delete(self._bucket, keys.callback_told(upload_id))

    def is_disabled(self, url: str, user: str) -> bool:
        """Return whether this URL answered 410 to a webhook of this user."""
        try:
            self._store.head(self._bucket, keys.callback_off(url, user))
        except NotFound:
            return False
        return True

    def disable(self, url: str, user: str) -> None:
        """Send no more webhooks of this user to this URL. Other users are unaffected."""
        self._store.put(self._bucket, keys.callback_off(url, user), b"{}", JSON)

    def enable(self, url: str) -> None:
        """Send webhooks of all users to this URL again."""
        name = keys.callback_off(url).rpartition("/")[2]
        for info in list(self._store.list(self._bucket, keys.callbacks_off())):
            if info.key.endswith(f"/{name}"):
                self._store.delete(self._bucket, info.key)

    def _listed(self, upload_id: str) -> Iterator[ObjectInfo]:
        return self._store.list(self._bucket, keys.callbacks_due(upload_id))

    def _attempt(self, info: ObjectInfo) -> Attempt[CallNote] | None:
        """None: the webhook ended since its attempts were listed."""
        try:
            return self._attempts.read(info)
        except PermanentError:
            # A damaged note: one webhook too many is better than one too few.
            return self._attempts.with_note(info, CallNote(host="", state="waiting"))

    def _pending_call(self, attempt: Attempt[CallNote]) -> PendingCall:
        note = attempt.note
        due_s = attempt.due_s(self._lease_s)
        return PendingCall(attempt.item, note.host, attempt.number, due_s, note.user)

    def _log_unread(self, info: ObjectInfo, error: Exception) -> None:
        # Raises `StorageUnavailable` where the store is away for every object.
        next(iter(self._store.list(self._bucket, info.key)), None)
        logger().error(
            "callback.unread", error=type(error).__name__, where=raised_at(error)
        )
