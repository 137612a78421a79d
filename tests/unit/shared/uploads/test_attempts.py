"""The log of attempts: what is listed, what is read again, and when the next is due."""

from __future__ import annotations

from typing import ClassVar

import pytest

from shared.errors import PermanentError
from shared.uploads.attempts import CLOCK_STEP_S, AttemptLog, AttemptNote
from tests.support.fake_clock import FakeClock
from tests.support.memory_store import MemoryStore

LEASE_S = 30.0


class Note(AttemptNote):
    IN_PROGRESS: ClassVar[str] = "busy"


BUSY = Note(state="busy")


class CountingStore(MemoryStore):
    """Keeps the keys that were read."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.reads: list[str] = []

    def read(self, bucket: str, key: str, version: str | None = None) -> bytes:
        self.reads.append(key)
        return super().read(bucket, key, version)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> CountingStore:
    return CountingStore(clock)


@pytest.fixture
def log(store: CountingStore) -> AttemptLog[Note]:
    return AttemptLog(store, "results", "work/", Note)


def numbers(log: AttemptLog[Note]) -> dict[str, int]:
    attempts = [log.read(info) for info in log.newest().values()]
    return {attempt.item: attempt.number for attempt in attempts if attempt}


def test_an_attempt_is_begun_once(log: AttemptLog[Note]) -> None:
    assert log.create("a", 1, BUSY)
    assert not log.create("a", 1, BUSY)


def test_the_newest_attempt_at_each_item_counts(
    log: AttemptLog[Note], store: CountingStore
) -> None:
    """Whatever else lies under the prefix is no attempt."""
    for item, number in (("a", 1), ("a", 2), ("b", 1)):
        log.create(item, number, BUSY)
    for name in ("a/0003.json.bak", "a/notes.json", "c/9/0001.json"):
        store.put("results", f"work/{name}", b"?", "text/plain")
    assert numbers(log) == {"a": 2, "b": 1}
    latest = log.latest("a")
    assert latest is not None
    assert latest.number == 2


def test_an_attempt_that_did_not_change_is_read_once(
    log: AttemptLog[Note], store: CountingStore, clock: FakeClock
) -> None:
    """Its age is that of the newest listing all the same."""
    log.create("a", 1, BUSY)
    numbers(log)
    clock.advance(LEASE_S + CLOCK_STEP_S)
    (info,) = log.newest().values()
    attempt = log.read(info)
    assert attempt is not None
    assert attempt.due_s(LEASE_S) == 0
    assert store.reads == ["work/a/0001.json"]
    log.write("a", 1, BUSY.model_copy(update={"wait_s": 5.0}))
    numbers(log)
    assert len(store.reads) == 2


def test_a_deleted_attempt_is_forgotten(
    log: AttemptLog[Note], store: CountingStore
) -> None:
    """An object put there later is read, even one with the same content."""
    log.create("a", 1, BUSY)
    assert numbers(log) == {"a": 1}
    log.clear("a", 1)
    assert numbers(log) == {}
    log.create("a", 1, BUSY)
    assert numbers(log) == {"a": 1}
    assert len(store.reads) == 2


def test_an_attempt_that_is_over_is_due_after_its_pause(
    log: AttemptLog[Note], clock: FakeClock
) -> None:
    log.create("a", 1, Note(state="failed", wait_s=5.0))
    clock.advance(4)
    latest = log.latest("a")
    assert latest is not None
    assert not latest.in_progress
    assert latest.due_s(LEASE_S) == 1


def test_a_damaged_note_is_no_attempt(
    log: AttemptLog[Note], store: CountingStore
) -> None:
    store.put("results", "work/a/0001.json", b"{", "application/json")
    (info,) = log.newest().values()
    with pytest.raises(PermanentError):
        log.read(info)
    with pytest.raises(PermanentError):
        log.latest("a")
