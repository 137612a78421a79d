"""The sweep and callbacks: an end that was to be told, and that nobody has in hand, is
asked for again.
"""

from __future__ import annotations

from typing import Any

import pytest

from handlers.on_sweep import Memory
from handlers.webhooks.call_log import CallLog
from shared.broker import topology
from shared.uploads.messages import CallbackDue
from tests.support.reconcile_world import Town, TownAuditLog, photo

CALLBACK = {"callback": "https://hooks.example.com/"}


class Called(Town):
    """A town whose uploads ask to be told."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.call_log = CallLog(self.store, "results", 15.0)

    def asked(self) -> list[str]:
        """Upload ids of the messages for the callbacks process, which takes them."""
        self.depths()
        bodies, self.queues[topology.CALLBACKS] = self.queues[topology.CALLBACKS], []
        return [CallbackDue.decode(body).upload_id for body in bodies]


@pytest.fixture
def town() -> Called:
    return Called()


@pytest.mark.parametrize("audit_log", [None, TownAuditLog()])
def test_a_lost_call_is_asked_for_again(
    town: Called, audit_log: TownAuditLog | None
) -> None:
    """Only once the end is old enough to have been told, and only until the call_log has
    it.
    """
    memory = Memory()
    upload = town.upload("a.png", b"no photo", CALLBACK)
    if audit_log:
        audit_log.known.add(upload)
    assert town.asked() == [upload]  # the handler's own message: lost
    assert town.sweep(audit_log=audit_log, memory=memory).webhooks_requested == 0
    town.later()
    assert town.sweep(audit_log=audit_log, memory=memory).webhooks_requested == 1
    assert (
        town.sweep(audit_log=audit_log, memory=memory).webhooks_requested == 0
    )  # it waits in the queue
    assert town.asked() == [upload]
    assert town.call_log.add(upload, "hooks.example.com", "ann")
    assert town.sweep(audit_log=audit_log, memory=memory).webhooks_requested == 0
    assert len(memory.unsettled) == 0


def test_a_process_without_memory_finds_it_too(town: Called) -> None:
    """The watermark does not pass an end that nobody has in hand."""
    upload = town.upload("a.png", b"no photo", CALLBACK)
    town.asked()
    for _ in range(3):
        town.sweep()
        town.later()
    assert set(town.asked()) == {upload}


def test_nobody_is_called_who_did_not_ask(town: Called) -> None:
    town.upload("a.png", b"no photo")
    waiting = town.upload("b.png", photo(3), CALLBACK)
    town.later()
    assert town.sweep().webhooks_requested == 0
    assert town.asked() == []
    assert waiting


def test_a_dry_run_only_counts(town: Called) -> None:
    town.upload("a.png", b"no photo", CALLBACK)
    town.asked()
    town.later()
    assert town.sweep(dry_run=True).webhooks_requested == 1
    assert town.asked() == []
