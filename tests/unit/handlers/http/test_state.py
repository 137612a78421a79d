"""Where the API says that a photo stands."""

from __future__ import annotations

import pytest

from handlers.http.api import state
from shared.uploads import keys
from shared.uploads.claims import ClaimNote
from tests.support.upload_world import World, photo


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(
    ("claim", "shown"),
    [(None, "queued"), ("working", "processing"), ("failed", "queued")],
)
def test_a_claim_shows_while_there_is_no_outcome(
    world: World, claim: str | None, shown: str
) -> None:
    decision = world.upload("a.png", photo())
    receipt = world.receipt(decision)
    if claim:
        fields = {"worker": "w", "upload_id": receipt.upload_id, "state": claim}
        note = ClaimNote.model_validate(fields | {"progress": 0.5})
        key = keys.claim(receipt.task_id or "", 1)
        world.store.put("results", key, note.to_bytes(), "application/json")
    found = state.of_receipt(world.ctx, receipt)
    assert (found.status, found.progress) == (shown, 0.5 if claim else 0.0)
    world.restore(decision)
    found = state.of_receipt(world.ctx, receipt)
    assert (found.status, found.progress) == ("success", 1.0)


def test_a_damaged_document_shows_as_none(world: World) -> None:
    """The photo seems to wait until the sweep has made the document anew."""
    decision = world.upload("a.png", photo())
    receipt = world.receipt(decision)
    world.store.put("results", keys.record(receipt.task_id or ""), b"{", "text/plain")
    world.store.put("quarantine", keys.reason(receipt.upload_id), b"{", "text/plain")
    assert state.of_receipt(world.ctx, receipt).status == "queued"


def test_a_rejected_upload_says_why(world: World) -> None:
    decision = world.upload("a.png", b"no photo")
    reason = world.reason(decision)
    found = state.of_receipt(world.ctx, world.receipt(decision))
    assert found.status == "rejected"
    assert found.fault
    assert found.fault.error_code == reason.error_code
