"""The recorder: acknowledged after the commit, patient while the audit log is down, gone
when told to.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from handlers.audit_log.values import Written
from handlers.on_record import on_record
from handlers.processes import recorder as recorder_module
from handlers.processes.recorder import Recorder
from shared.broker.delivery import Delivery, Settlement
from shared.errors import Code, DatabaseUnavailable
from shared.runtime.retry import RetryPolicy
from shared.runtime.settings import Settings
from shared.uploads.messages import LogEvent
from tests.support.waiting import eventually

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def body() -> bytes:
    ident = str(uuid4())
    return LogEvent(
        event_id=ident, upload_id=ident, upload_time=NOW, kind="queued", at=NOW
    ).encode()


class MemoryAuditLog:
    """Keeps what it is told; is down while `down` is set, and waits at the door while
    `closed` is.
    """

    def __init__(self) -> None:
        self.batches: list[list[LogEvent]] = []
        self.down = False
        self.refusals = 0
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.opened.set()

    def write(self, events: Sequence[LogEvent]) -> Written:
        self.entered.set()
        assert self.opened.wait(60)
        if self.down:
            self.refusals += 1
            raise DatabaseUnavailable("down")
        self.batches.append(list(events))
        return Written(added=len(events))


class Stage:
    """A recorder at work, and what became of its deliveries."""

    def __init__(self, settings: Settings) -> None:
        self.audit_log = MemoryAuditLog()
        self.stop = threading.Event()
        self.recorder = Recorder(settings, self.audit_log, self.stop)
        self.settled: list[tuple[Delivery, Settlement]] = []
        self.thread = threading.Thread(target=self.recorder.run)

    def deliver(self, *bodies: bytes) -> None:
        for each in bodies:
            self.recorder.put(
                Delivery(
                    "darkroom.log",
                    each,
                    {},
                    False,
                    lambda d, r: self.settled.append((d, r)),
                )
            )

    def leave(self) -> None:
        self.stop.set()
        self.thread.join(60)
        assert not self.thread.is_alive()


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(recorder_module, "DATABASE_RETRY", RetryPolicy(0.01, 0.01))
    stage = Stage(Settings(log_batch=3, log_flush_s=0.05))
    yield stage
    stage.audit_log.opened.set()
    stage.leave()


def test_what_cannot_be_read_is_named_and_the_rest_is_written() -> None:
    """By its place in the batch, with the reason."""
    audit_log = MemoryAuditLog()
    recorded = on_record([body(), b"{}", body(), b"\xff"], audit_log)
    assert sorted(recorded.refused) == [1, 3]
    assert recorded.refused[1].code == Code.BAD_MESSAGE
    assert recorded.written == Written(added=2)


def test_a_message_that_meets_a_bug_holds_up_no_other(stage: Stage) -> None:
    """It is found in its batch and set aside; the others are written, once each."""
    good, bad = [body() for _ in range(5)], body()
    write = stage.audit_log.write

    def poisoned(events: Sequence[LogEvent]) -> Written:
        if LogEvent.decode(bad).event_id in {event.event_id for event in events}:
            raise RecursionError("IMG_private.jpg")
        return write(events)

    stage.audit_log.write = poisoned  # type: ignore[method-assign]
    stage.deliver(*good[:2], bad, *good[2:])
    stage.thread.start()
    eventually(lambda: len(stage.settled) == 6, "6 settled deliveries")
    assert [
        delivery.body
        for delivery, ruling in stage.settled
        if ruling.code == Code.INTERNAL
    ] == [bad]
    written = [event.encode() for batch in stage.audit_log.batches for event in batch]
    assert sorted(written) == sorted(good)
    assert "private" not in str([ruling for _, ruling in stage.settled])


def test_a_batch_of_garbage_needs_no_database() -> None:
    audit_log = MemoryAuditLog()
    audit_log.down = True
    assert len(on_record([b"", b"x"], audit_log).refused) == 2


def test_messages_are_written_in_batches_of_the_set_size(stage: Stage) -> None:
    """A full batch does not wait, a part of one waits for `log_flush_s` only."""
    stage.deliver(*(body() for _ in range(7)))
    stage.thread.start()
    eventually(lambda: len(stage.settled) == 7, "7 settled deliveries")
    assert [len(batch) for batch in stage.audit_log.batches] == [3, 3, 1]
    assert all(ruling == Settlement() for _, ruling in stage.settled)


def test_nothing_is_acknowledged_before_the_commit(stage: Stage) -> None:
    stage.audit_log.opened.clear()
    stage.deliver(body(), body(), body())
    stage.thread.start()
    assert stage.audit_log.entered.wait(60)
    assert stage.settled == []
    stage.audit_log.opened.set()
    eventually(lambda: len(stage.settled) == 3, "3 settled deliveries")


def test_an_unreadable_message_goes_to_the_dead(stage: Stage) -> None:
    """With its reason, and only that one."""
    stage.deliver(body(), b"not ours", body())
    stage.thread.start()
    eventually(lambda: len(stage.settled) == 3, "3 settled deliveries")
    assert [ruling.code for _, ruling in stage.settled] == [
        None,
        Code.BAD_MESSAGE,
        None,
    ]


def test_while_the_audit_log_is_down_the_batch_is_kept(stage: Stage) -> None:
    """Tried again and again, never acknowledged, never dropped; written once when the
    audit log is back.
    """
    stage.audit_log.down = True
    stage.deliver(*(body() for _ in range(3)))
    stage.thread.start()
    eventually(lambda: stage.audit_log.refusals >= 5, "five refusals")
    assert stage.settled == []
    stage.audit_log.down = False
    eventually(lambda: len(stage.settled) == 3, "3 settled deliveries")
    assert [len(batch) for batch in stage.audit_log.batches] == [3]


def test_leaving_writes_what_is_in_hand(stage: Stage) -> None:
    """What came before the stop is written and acknowledged; what comes after it is
    left to another.
    """
    stage.deliver(*(body() for _ in range(7)))
    stage.audit_log.opened.clear()
    stage.thread.start()
    stage.stop.set()
    stage.deliver(body())
    stage.audit_log.opened.set()
    stage.leave()
    assert sum(map(len, stage.audit_log.batches)) == len(stage.settled) == 7


def test_leaving_does_not_wait_for_an_audit_log_that_is_down(stage: Stage) -> None:
    """The messages stay unsettled: the broker has them."""
    stage.audit_log.down = True
    stage.deliver(body(), body())
    stage.thread.start()
    eventually(lambda: stage.audit_log.refusals, "a refusal")
    stage.leave()
    assert stage.settled == []
