"""Leases on tasks: one worker at a time restores a photo, and every attempt counts.

A claim is an attempt (`shared.uploads.attempts`) at `claims/{task_id}/0001.json`. Its
holder writes it again `RENEWALS_PER_LEASE` times a lease. A claim that was not renewed
for a whole lease belongs to a dead worker, and attempt 2 may be claimed in the same
way. If the broker redelivers the task's message, a third of a lease is enough. A
message is therefore only a hint that there may be work: a worker that finds the task
held drops the hint, because the sweep publishes a new one for every claim that is due.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field

from shared.errors import Code, DarkroomError
from shared.runtime.settings import AttemptSettings
from shared.s3.store import ObjectStore
from shared.uploads import keys
from shared.uploads.attempts import Attempt, AttemptLog, AttemptNote, NoteCache
from shared.uploads.documents import Part

RENEWALS_PER_LEASE = 6
REDELIVERED_LEASE_FRACTION = 1 / 3
"""If the broker redelivers a task, its previous holder is presumed dead after this
fraction of the lease.
"""
DETAIL_CHARACTERS = 500
"""Longest error text that a claim keeps."""


class DraftNote(Part):
    """What is said of the picture of what is done so far (`keys.draft`): its number,
    from 1, and the signature of the workflow that is run.
    """

    number: int
    signature: str


class ClaimNote(AttemptNote):
    """Content of one claim.

    `acquire_token`: random token that identifies the acquirer, so that it recognises
    its own write after a lost response. `crashes`: attempts before this one that ended
    with a dead worker. `uncounted_attempts`: attempts rejected because the worker ran
    another release or lacked a model; they do not use up the retry budget. `progress`:
    fraction of the inference that is done, from 0 to 1, as of the last renewal.
    `draft`: the newest that was stored; of an attempt before this one, whose worker
    died, it may still lie there.
    """

    # The stored names are a contract.
    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)
    IN_PROGRESS: ClassVar[str] = "working"

    worker: str
    upload_id: str
    state: Literal["working", "failed", "requeued"]
    acquire_token: str = Field(
        default="", validation_alias="take", serialization_alias="take"
    )
    crashes: int = 0
    uncounted_attempts: int = Field(
        default=0, validation_alias="refused", serialization_alias="refused"
    )
    progress: float = 0.0
    draft: DraftNote | None = None
    error_code: Code | None = None
    error_detail: str | None = None


@dataclass(frozen=True)
class Claim:
    """An attempt that this process holds."""

    task_id: str
    attempt: int
    note: ClaimNote

    @property
    def counted_attempts(self) -> int:
        """Attempts up to this one that used up the retry budget."""
        return self.attempt - self.note.uncounted_attempts


@dataclass(frozen=True)
class LeaseHeld:
    """Another worker holds the task for upload `upload_id`, or its next attempt is not
    due, for about `due_s` seconds more.
    """

    due_s: float
    upload_id: str | None = None


@dataclass(frozen=True)
class AttemptsExhausted:
    """The task has used up its attempts; `code` and `detail` are the error to report.
    `drafted`: a draft may have been left.
    """

    attempts: int
    code: Code
    detail: str
    drafted: bool = False


def claim_log(
    store: ObjectStore, bucket: str, cache: NoteCache[ClaimNote] | None = None
) -> AttemptLog[ClaimNote]:
    """The claims of all tasks; `bucket` is the one for results."""
    return AttemptLog(store, bucket, keys.claims(), ClaimNote, cache)


class Claims:
    """Claims of one worker. All methods raise `StorageUnavailable`."""

    def __init__(
        self, store: ObjectStore, settings: AttemptSettings, worker: str
    ) -> None:
        self._log = claim_log(store, settings.bucket_results)
        self._settings = settings
        self._worker = worker

    def acquire(
        self, task_id: str, upload_id: str, redelivered: bool = False
    ) -> Claim | LeaseHeld | AttemptsExhausted:
        """Begin the next attempt of a task, unless it is held or exhausted.

        `redelivered`: the broker took the task's message from another worker, which is
        dead or has lost its connection.
        """
        while True:
            answer = self._try_to_acquire(task_id, upload_id, redelivered)
            if answer is not None:
                return answer

    def renew(
        self, claim: Claim, progress: float = 0.0, draft: DraftNote | None = None
    ) -> None:
        """Extend the lease, and record how far the attempt is."""
        changes = {
            "progress": round(progress, 3),
            "draft": draft or claim.note.draft,
        }
        note = claim.note.model_copy(update=changes)
        self._log.write(claim.task_id, claim.attempt, note)

    def fail(
        self, claim: Claim, error: Exception, wait_s: float, counts: bool = True
    ) -> None:
        """End the attempt; the next is due in `wait_s`. One that does not count leaves
        the retry budget as it was.
        """
        failure = {
            "state": "failed",
            "wait_s": wait_s,
            "error_code": _code(error),
            "error_detail": _detail(error)[:DETAIL_CHARACTERS],
            "uncounted_attempts": claim.note.uncounted_attempts + (not counts),
        }
        note = claim.note.model_copy(update=failure)
        self._log.write(claim.task_id, claim.attempt, note)
        if not counts and claim.attempt > 2:
            # A task may wait for weeks, and leaves no row of claims behind: the last
            # one knows how many there were, and the first one keeps every worker from
            # beginning anew.
            self._log.delete(claim.task_id, claim.attempt - 1)

    def clear(self, task_id: str, attempts: int) -> None:
        """The task reached its end: delete its claims."""
        self._log.clear(task_id, attempts)

    def release(self, claim: Claim) -> None:
        """Give the claim up as if the attempt had not been made, because the worker
        leaves: only the earlier attempts count.
        """
        self._log.delete(claim.task_id, claim.attempt)

    def _try_to_acquire(
        self, task_id: str, upload_id: str, redelivered: bool
    ) -> Claim | LeaseHeld | AttemptsExhausted | None:
        """None: another worker changed the claims between two requests; try again."""
        first = ClaimNote(
            worker=self._worker,
            upload_id=upload_id,
            state="working",
            acquire_token=secrets.token_hex(8),
        )
        if self._log.create(task_id, 1, first):
            return Claim(task_id, 1, first)
        last = self._log.latest(task_id)
        if last is None:
            return None
        if last.note == first:
            # The store wrote the claim, but its answer was lost, and the request was
            # repeated.
            return Claim(task_id, last.number, first)
        lease_s = self._settings.lease_s
        due_s = last.due_s(
            lease_s * REDELIVERED_LEASE_FRACTION if redelivered else lease_s
        )
        if due_s > 0:
            return LeaseHeld(due_s, last.note.upload_id)
        return self._begin_next(last, first)

    def _begin_next(
        self, last: Attempt[ClaimNote], first: ClaimNote
    ) -> Claim | AttemptsExhausted | None:
        """The attempt after `last`, with what `first` says of its worker."""
        history = {
            "crashes": last.note.crashes + last.in_progress,
            "uncounted_attempts": last.note.uncounted_attempts,
            "draft": last.note.draft,
        }
        claim = Claim(last.item, last.number + 1, first.model_copy(update=history))
        exhausted = self._exhausted(last, claim.note.crashes)
        if exhausted is not None:
            return exhausted
        if self._log.create(claim.task_id, claim.attempt, claim.note):
            return claim
        newest = self._log.latest(claim.task_id)
        if newest is not None and newest.note == claim.note:
            return claim  # the answer was lost, as above
        return None

    def _exhausted(
        self, last: Attempt[ClaimNote], crashes: int
    ) -> AttemptsExhausted | None:
        """Why no attempt may follow `last`, if none may."""
        note = last.note
        drafted = note.draft is not None
        if crashes >= self._settings.max_crashes:
            detail = f"{crashes} workers died while restoring this photo"
            return AttemptsExhausted(last.number, Code.WORKER_CRASHED, detail, drafted)
        if last.number - note.uncounted_attempts < self._settings.max_attempts:
            return None
        code = Code.ATTEMPTS_EXHAUSTED
        if note.error_code == Code.SOURCE_UNREADABLE:
            code = Code.SOURCE_UNREADABLE
        reason = note.error_detail or "the worker died"
        detail = f"{last.number} attempts failed; the last one: {reason}"
        return AttemptsExhausted(last.number, code, detail, drafted)


def latest(store: ObjectStore, bucket: str, task_id: str) -> Attempt[ClaimNote] | None:
    """The newest claim of a task."""
    return claim_log(store, bucket).latest(task_id)


def requeue(log: AttemptLog[ClaimNote], claim: Attempt[ClaimNote]) -> None:
    """Mark a due claim as published again, so that the next sweep does not publish it
    once more. One that was in progress counts as a crash from here on.
    """
    crashes = claim.note.crashes + claim.in_progress
    published = {"state": "requeued", "wait_s": 0.0, "crashes": crashes}
    log.write(claim.item, claim.number, claim.note.model_copy(update=published))


def _code(error: Exception) -> Code:
    return error.code if isinstance(error, DarkroomError) else Code.INTERNAL


def _detail(error: Exception) -> str:
    if isinstance(error, DarkroomError):
        return error.detail
    return f"{type(error).__name__}: {error}"
