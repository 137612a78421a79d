"""Who works on a task, and how often it was tried: one small object per attempt, in the
results bucket.

`claims/{task_id}/0001.json` is created with `If-None-Match: *`, so of any number of
workers one begins attempt 1. The holder writes its claim again six times a lease; a
claim that was not, for a whole lease *by the store's own clock*, belongs to a dead
worker, and attempt 2 may be claimed in the same way. Where the broker, too, gave the
task's message to another, a third of a lease is enough. The number of claims is the
number of attempts, and it survives every crash. A message is therefore only a hint that
there may be work: a worker that finds the task held drops the hint, because the sweep
makes a new one from any claim that is due (`due_s`).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Literal

from shared.errors import Code, DarkroomError, NotFound
from shared.runtime.settings import Settings
from shared.s3.store import ObjectInfo, ObjectStore
from shared.uploads import keys
from shared.uploads.documents import Document

CLOCK_STEP_S = 1.0  # object times come in whole seconds
RENEWALS = 6
"""How often in a lease a holder says that it lives."""
SILENT = 1 / 3
"""Part of a lease after which a silent holder is given up whose message came back."""


class ClaimNote(Document):
    """Content of one claim. `crashes` counts the attempts before it that ended with a
    dead worker, `refused` those that count for nothing, as the worker was of another
    release; one that is refused counts itself, too.

    `take`: drawn for each try to begin an attempt, so that it can be told whose the
    claim is. `progress`: fraction of the inference that is done, from 0 to 1, as of the
    last renewal.
    """

    worker: str
    upload_id: str
    state: Literal["working", "failed", "requeued"]
    take: str = ""
    crashes: int = 0
    refused: int = 0
    wait_s: float = 0.0
    progress: float = 0.0
    error_code: Code | None = None
    error_detail: str | None = None


@dataclass(frozen=True)
class Claim:
    """An attempt that this process holds."""

    task_id: str
    attempt: int
    note: ClaimNote


@dataclass(frozen=True)
class Held:
    """Somebody holds the task for upload `upload_id`, or its next try is not due, for
    about `due_s` seconds more.
    """

    due_s: float
    upload_id: str | None = None


@dataclass(frozen=True)
class Spent:
    """The task has used up its attempts; `note` is the last one's."""

    attempts: int
    code: Code
    detail: str


class Claims:
    """Claims of one worker. All methods raise `StorageUnavailable`."""

    def __init__(self, store: ObjectStore, settings: Settings, worker: str) -> None:
        self._store = store
        self._bucket = settings.bucket_results
        self._settings = settings
        self._worker = worker

    def take(
        self, task_id: str, upload_id: str, came_back: bool = False
    ) -> Claim | Held | Spent:
        """Begin the next attempt of a task, unless it is held or spent.

        `came_back`: the broker took the task's message from somebody, who is dead or
        has lost its connection.
        """
        first = ClaimNote(
            worker=self._worker,
            upload_id=upload_id,
            state="working",
            take=secrets.token_hex(8),
        )
        if self._write_new(task_id, 1, first):
            return Claim(task_id, 1, first)
        found = latest(self._store, self._bucket, task_id)
        if found is None:  # it ended between the two looks: look again
            return self.take(task_id, upload_id, came_back)
        attempt, note, info = found
        if note == first:
            # the store wrote it, answered with an error, and was asked again
            return Claim(task_id, attempt, note)
        wait_s = due_s(
            note, info, self._settings.lease_s * (SILENT if came_back else 1)
        )
        if wait_s > 0:
            return Held(wait_s, note.upload_id)
        following = _following(note, first)
        if spent := self._spent(attempt, note, following):
            return spent
        if self._write_new(task_id, attempt + 1, following):
            return Claim(task_id, attempt + 1, following)
        if (found := latest(self._store, self._bucket, task_id)) and found[
            1
        ] == following:
            return Claim(task_id, attempt + 1, following)  # as above
        return self.take(task_id, upload_id, came_back)  # somebody was quicker: see who

    def renew(self, claim: Claim, progress: float = 0.0) -> None:
        """Say that the holder lives, and how far it is."""
        self._write(
            claim, claim.note.model_copy(update={"progress": round(progress, 3)})
        )

    def fail(
        self, claim: Claim, error: Exception, wait_s: float, counts: bool = True
    ) -> None:
        """End the attempt; the next is due in `wait_s`."""
        code = error.code if isinstance(error, DarkroomError) else Code.INTERNAL
        detail = (
            error.detail
            if isinstance(error, DarkroomError)
            else f"{type(error).__name__}: {error}"
        )
        self._write(
            claim,
            claim.note.model_copy(
                update={
                    "state": "failed",
                    "wait_s": wait_s,
                    "error_code": code,
                    "error_detail": detail[:500],
                    "refused": claim.note.refused + (not counts),
                }
            ),
        )
        if not counts and claim.attempt > 2:
            # One that is refused for weeks leaves no row of claims behind: the last one
            # knows how many there were, and the first one keeps anybody from beginning
            # anew.
            self._store.delete(
                self._bucket, keys.claim(claim.task_id, claim.attempt - 1)
            )

    def forget(self, task_id: str, attempts: int) -> None:
        """The task reached its end: forget its attempts."""
        for attempt in range(attempts, 0, -1):
            self._store.delete(self._bucket, keys.claim(task_id, attempt))

    def hand_back(self, claim: Claim) -> None:
        """The attempt was not made (the worker is leaving): only the earlier ones
        count.
        """
        self._store.delete(self._bucket, keys.claim(claim.task_id, claim.attempt))

    def _spent(
        self, attempt: int, last: ClaimNote, following: ClaimNote
    ) -> Spent | None:
        limits = self._settings
        if following.crashes >= limits.max_crashes:
            return Spent(
                attempt,
                Code.WORKER_CRASHED,
                f"{following.crashes} workers died while restoring this photo",
            )
        if attempt - last.refused >= limits.max_attempts:
            detail = last.error_detail or "the worker died"
            code = (
                Code.SOURCE_UNREADABLE
                if last.error_code == Code.SOURCE_UNREADABLE
                else Code.ATTEMPTS_EXHAUSTED
            )
            return Spent(
                attempt, code, f"{attempt} attempts failed; the last one: {detail}"
            )
        return None

    def _write_new(self, task_id: str, attempt: int, note: ClaimNote) -> bool:
        key = keys.claim(task_id, attempt)
        return self._store.put_new(
            self._bucket, key, note.to_bytes(), "application/json"
        )

    def _write(self, claim: Claim, note: ClaimNote) -> None:
        self._store.put(
            self._bucket,
            keys.claim(claim.task_id, claim.attempt),
            note.to_bytes(),
            "application/json",
        )


def latest(
    store: ObjectStore, bucket: str, task_id: str
) -> tuple[int, ClaimNote, ObjectInfo] | None:
    """The newest claim of a task: its attempt, its content and the store's word on it."""
    prefix = keys.claims(task_id)
    listed = [info.key for info in store.list(bucket, prefix)]
    for key in reversed(
        [
            key
            for key in listed
            if key.removeprefix(prefix).removesuffix(".json").isdigit()
        ]
    ):
        try:
            with store.open(bucket, key) as stream:
                note = ClaimNote.from_bytes(b"".join(stream.chunks()), key)
                return (
                    int(key.removeprefix(prefix).removesuffix(".json")),
                    note,
                    stream.info,
                )
        except NotFound:
            continue
    return None


def due_s(note: ClaimNote, info: ObjectInfo, lease_s: float) -> float:
    """Seconds until the next attempt may begin, by the store's clock alone; 0 or less
    means now.
    """
    if note.state == "working":
        return lease_s + CLOCK_STEP_S - info.age_s
    return note.wait_s - info.age_s


def requeue(
    store: ObjectStore, bucket: str, task_id: str, attempt: int, note: ClaimNote
) -> None:
    """Mark a due claim as published again, so that the next sweep does not publish it
    once more.

    A claim that was `working` counts as a crash from here on.
    """
    crashed = note.state == "working"
    marked = note.model_copy(
        update={"state": "requeued", "wait_s": 0.0, "crashes": note.crashes + crashed}
    )
    store.put(
        bucket, keys.claim(task_id, attempt), marked.to_bytes(), "application/json"
    )


def _following(last: ClaimNote, first: ClaimNote) -> ClaimNote:
    crashes = last.crashes + (last.state == "working")
    return first.model_copy(update={"crashes": crashes, "refused": last.refused})
