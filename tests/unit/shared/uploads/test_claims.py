"""Claims: one holder at a time, attempts that survive crashes, all by the store's
clock.
"""

import json

import pytest

from shared.errors import BrokerUnavailable, Code, OtherRelease
from shared.runtime.settings import Settings
from shared.uploads import claims, keys
from shared.uploads.claims import AttemptsExhausted, Claim, ClaimNote, Claims, LeaseHeld
from tests.support.fake_clock import FakeClock
from tests.support.memory_store import MemoryStore

SETTINGS = Settings(lease_s=30, max_attempts=3, max_crashes=2)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def store(clock):
    return MemoryStore(clock)


@pytest.fixture
def ann(store):
    return Claims(store, SETTINGS, "ann")


@pytest.fixture
def bob(store):
    return Claims(store, SETTINGS, "bob")


def test_the_second_worker_finds_the_task_held(ann, bob):
    assert isinstance(ann.acquire("t", "u"), Claim)
    held = bob.acquire("t", "other-upload")
    assert isinstance(held, LeaseHeld)
    assert held.upload_id == "u"
    assert 30 <= held.due_s <= 31


def test_a_renewed_claim_is_kept_for_ever(ann, bob, clock):
    claim = ann.acquire("t", "u")
    for _ in range(20):
        clock.advance(20)
        assert isinstance(bob.acquire("t", "u"), LeaseHeld)
        ann.renew(claim)


def test_a_silent_holder_loses_the_task_after_the_lease(ann, bob, clock):
    ann.acquire("t", "u")
    clock.advance(32)
    claim = bob.acquire("t", "u")
    assert isinstance(claim, Claim)
    assert (claim.attempt, claim.note.crashes) == (2, 1)


def test_where_the_message_was_redelivered_a_third_of_a_lease_is_enough(
    ann, bob, clock
):
    """The broker lost the holder, too: a dead worker's photo comes back within seconds,
    a living one's does not.
    """
    claim = ann.acquire("t", "u")
    clock.advance(9)
    ann.renew(claim)
    clock.advance(9)
    assert isinstance(bob.acquire("t", "u", redelivered=True), LeaseHeld)
    clock.advance(3)
    assert isinstance(bob.acquire("t", "u"), LeaseHeld)
    assert isinstance(bob.acquire("t", "u", redelivered=True), Claim)


def test_a_late_sign_of_life_does_not_take_the_task_back(ann, bob, clock):
    """A worker that was stopped for a while and goes on: its claim is history."""
    first = ann.acquire("t", "u")
    clock.advance(32)
    bob.acquire("t", "u")
    ann.renew(first)
    assert isinstance(ann.acquire("t", "u"), LeaseHeld)


def test_a_photo_that_kills_its_workers_fails_for_good(ann, clock):
    for _ in range(SETTINGS.max_crashes):
        assert isinstance(ann.acquire("t", "u"), Claim)
        clock.advance(32)
    exhausted = ann.acquire("t", "u")
    assert isinstance(exhausted, AttemptsExhausted)
    assert (exhausted.code, exhausted.attempts) == (Code.WORKER_CRASHED, 2)


def test_a_failed_attempt_is_due_after_its_wait_and_no_sooner(ann, bob, clock):
    ann.fail(ann.acquire("t", "u"), BrokerUnavailable("x"), wait_s=5)
    assert isinstance(bob.acquire("t", "u"), LeaseHeld)
    clock.advance(5)
    claim = bob.acquire("t", "u")
    assert isinstance(claim, Claim)
    assert (claim.attempt, claim.note.crashes) == (2, 0)


def test_attempts_run_out_and_the_last_error_is_kept(ann, clock):
    for _ in range(SETTINGS.max_attempts):
        ann.fail(ann.acquire("t", "u"), BrokerUnavailable("the last straw"), wait_s=1)
        clock.advance(2)
    exhausted = ann.acquire("t", "u")
    assert isinstance(exhausted, AttemptsExhausted)
    assert exhausted.code == Code.ATTEMPTS_EXHAUSTED
    assert "the last straw" in exhausted.detail


def test_what_workers_of_another_release_refuse_is_no_attempt(ann, clock):
    for _ in range(SETTINGS.max_attempts * 2):
        ann.fail(
            ann.acquire("t", "u"),
            OtherRelease(Code.UNKNOWN_WORKFLOW, "x"),
            wait_s=1,
            counts=False,
        )
        clock.advance(2)
    for _ in range(SETTINGS.max_attempts):
        ann.fail(ann.acquire("t", "u"), BrokerUnavailable("x"), wait_s=1)
        clock.advance(2)
    assert isinstance(ann.acquire("t", "u"), AttemptsExhausted)


def test_an_attempt_that_was_released_does_not_count(ann, bob):
    ann.release(ann.acquire("t", "u"))
    claim = bob.acquire("t", "u")
    assert isinstance(claim, Claim)
    assert claim.attempt == 1


def test_a_requeued_crash_still_counts_as_a_crash(ann, store, clock):
    ann.acquire("t", "u")
    clock.advance(32)
    log = claims.claim_log(store, "results")
    claims.requeue(log, log.latest("t"))
    claim = ann.acquire("t", "u")
    assert isinstance(claim, Claim)
    assert (claim.attempt, claim.note.crashes) == (2, 1)


def test_the_end_of_a_task_leaves_no_claim(ann, store, clock):
    ann.acquire("t", "u")
    clock.advance(32)
    claim = ann.acquire("t", "u")
    ann.clear("t", claim.attempt)
    assert list(store.list("results", keys.claims())) == []


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_claim_that_the_store_wrote_and_answered_with_an_error_is_held(
    ann, store, clock, monkeypatch, attempt
):
    """The second try of the same request finds the key taken, by this very worker: no attempt
    is lost, no lease waited for.
    """
    if attempt == 2:
        ann.fail(ann.acquire("t", "u"), BrokerUnavailable("x"), wait_s=0)
    put_new = store.put_new
    monkeypatch.setattr(store, "put_new", lambda *args: put_new(*args) and False)
    claim = ann.acquire("t", "u")
    assert isinstance(claim, Claim)
    assert (claim.attempt, claim.note.crashes) == (attempt, 0)
    # another message of the same task, in the same worker
    assert isinstance(ann.acquire("t", "u"), LeaseHeld)


def test_what_is_no_claim_is_left_alone(ann, bob, store):
    """An object of any other name beside the claims holds up no photo."""
    ann.acquire("t", "u")
    for name in ("0001.json.bak", "notes.json", "9/0001.json"):
        store.put("results", keys.claims("t") + name, b"?", "text/plain")
    assert isinstance(bob.acquire("t", "u"), LeaseHeld)


def test_the_stored_names_of_a_claim_stay():
    """Workers of two releases share the bucket while one replaces the other."""
    stored = b'{"worker": "w", "upload_id": "u", "state": "failed", "take": "t", "refused": 3}'
    note = ClaimNote.from_bytes(stored, "claims/t/0001.json")
    assert (note.acquire_token, note.uncounted_attempts) == ("t", 3)
    written = json.loads(note.to_bytes())
    assert (written["take"], written["refused"]) == ("t", 3)
    assert not {"acquire_token", "uncounted_attempts"} & set(written)
