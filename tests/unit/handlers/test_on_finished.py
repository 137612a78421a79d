"""One callback, try by try: what is sent, when it is tried again, when it is over."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from handlers.webhooks.call_log import PendingCall
from handlers.webhooks.schedule import Schedule
from shared.broker import topology
from shared.errors import Code, PermanentError, TransientError
from shared.runtime.settings import Settings
from shared.uploads import events, keys
from shared.uploads.documents import Reason
from shared.uploads.messages import CallbackDue, RestoreTask
from shared.uploads.retry_failed import reopen
from tests.support.upload_world import photo
from tests.support.webhook_world import TIMEOUT_S, URL, Callbacks


@pytest.fixture
def world() -> Callbacks:
    return Callbacks()


def test_a_restored_photo_is_sent_with_its_size_and_links(world: Callbacks) -> None:
    """Ids, status, size, links; nothing that says whose photo it is or what it was
    called.
    """
    decision = world.finished()
    assert world.try_once(world.add(decision)) is None
    ((url, _, message),) = world.receiver.calls
    assert url == URL
    data = message["data"]
    assert (message["type"], data["status"]) == ("task.finished", "success")
    assert (data["task_id"], data["upload_id"]) == (
        decision.task_id,
        decision.upload_id,
    )
    assert data["links"]["result"].endswith(f"/v1/tasks/{decision.task_id}/result")
    assert {"width", "height"} <= set(data)
    text = json.dumps(message)
    receipt = world.receipt(decision)
    assert world.receiver.users == [receipt.user_hash]
    assert not [
        secret
        for secret in ("a.png", receipt.user_hash, receipt.source.sha256 or "?")
        if secret in text
    ]
    result = world.result(decision)
    assert result
    assert (result.outcome, result.attempts, result.status) == ("delivered", 1, 204)
    assert world.due_keys() == []


def test_a_success_is_never_sent_twice(world: Callbacks) -> None:
    """However often the message comes again, and whatever a process that is late
    remembers.
    """
    decision = world.finished()
    due = world.add(decision)
    world.try_once(due)
    for late in (
        due,
        world.add(decision),
        PendingCall(due.upload_id, due.host, 3, 0.0),
    ):
        assert world.try_once(late) is None
    assert len(world.receiver.calls) == 1
    assert world.due_keys() == []


def test_a_try_is_made_by_one_process(world: Callbacks) -> None:
    """Two that know of the same try: the call_log lets one of them."""
    world.receiver.answers = [500]
    due = world.add(world.finished())
    assert world.try_once(due) is not None
    assert world.try_once(due) is None
    assert len(world.receiver.calls) == 1


def test_retries_keep_their_id_and_follow_the_schedule(world: Callbacks) -> None:
    """Ten tries over three days, each wait within 20 % of the setting; then it is set
    aside for a person.
    """
    world.receiver.answers = [500]
    decision = world.finished()
    due: PendingCall | None = world.add(decision)
    waits = []
    while due is not None:
        world.clock.advance(due.due_s)
        (seen,) = world.call_log.pending()
        assert seen.due_s <= 1
        due = world.try_once(seen)
        waits += [due.due_s] if due else []
    print("callback retries [s]:", *(round(wait) for wait in waits))
    planned = Schedule.of(Settings()).waits_s
    assert len(waits) == len(planned) == 9
    assert all(
        0.8 * plan <= wait <= 1.2 * plan
        for plan, wait in zip(planned, waits, strict=True)
    )
    assert len({ident for _, ident, _ in world.receiver.calls}) == 1
    assert len({json.dumps(body) for _, _, body in world.receiver.calls}) == 1
    result = world.result(decision)
    assert result
    assert (result.outcome, result.attempts, result.status) == ("given_up", 10, 500)
    (dead,) = [
        sent
        for sent in world.publisher.sent
        if sent.queue == topology.dead_queue(topology.CALLBACKS)
    ]
    assert CallbackDue.decode(dead.body).upload_id == decision.upload_id
    assert (dead.headers["code"], dead.headers["queue"]) == (
        Code.ATTEMPTS_EXHAUSTED,
        topology.CALLBACKS,
    )
    assert "HTTP 500" in dead.headers["detail"]


@pytest.mark.parametrize(
    "answer",
    [
        199,
        300,
        301,
        302,
        307,
        308,
        400,
        401,
        404,
        429,
        500,
        503,
        TransientError(Code.INTERNAL, "no answer within 15 s"),
        PermanentError(Code.BAD_PARAMETER, "not public"),
        ValueError("a bug of ours"),
    ],
)
def test_all_but_2xx_is_tried_again(world: Callbacks, answer: int | Exception) -> None:
    """A redirect, too: it is not followed. Nor does an address that is refused today
    end it: names change.
    """
    world.receiver.answers = [answer, 200]
    decision = world.finished()
    due = world.try_once(world.add(decision))
    assert due is not None
    assert world.result(decision) is None
    assert world.try_once(due) is None
    result = world.result(decision)
    assert result
    assert (result.outcome, result.attempts) == ("delivered", 2)


def test_410_ends_the_calls_to_an_address(world: Callbacks) -> None:
    """It is written down, and what ends later is not even tried; another address is
    called as before.
    """
    world.receiver.answers = [410]
    first = world.finished()
    second = world.asked("b.png", photo(colour=91))
    other = world.asked("c.png", photo(colour=92), "https://other.example.com/")
    for decision in (second, other):
        world.restore(decision)
    for decision in (first, second, other):
        assert world.try_once(world.add(decision)) is None
    assert [url for url, _, _ in world.receiver.calls] == [
        URL,
        "https://other.example.com/",
    ]
    assert [world.result(decision).outcome for decision in (first, second)] == [
        "disabled"
    ] * 2


def test_410_silences_an_address_for_nobody_but_the_user_whose_call_it_answered(
    world: Callbacks,
) -> None:
    """Else whoever names somebody else's address, and gets it to answer 410, would end
    all calls to it.
    """
    world.receiver.answers = [410, 204]
    mine = world.upload("a.png", photo(), {"callback": URL, "user": "ann"})
    yours = world.upload("b.png", photo(colour=91), {"callback": URL, "user": "bob"})
    for decision in (mine, yours):
        world.restore(decision)
        assert world.try_once(world.add(decision)) is None
    assert [world.result(decision).outcome for decision in (mine, yours)] == [
        "disabled",
        "delivered",
    ]


def test_a_killed_try_is_made_again(world: Callbacks) -> None:
    """A process that died between call and note leaves a try that is over after twice
    the time a call may take.
    """
    due = world.add(world.finished())
    assert world.call_log.begin(due)
    (seen,) = world.call_log.pending()
    assert 2 * TIMEOUT_S <= seen.due_s <= 2 * TIMEOUT_S + 2
    world.clock.advance(2 * TIMEOUT_S + 2)
    (seen,) = world.call_log.pending()
    assert seen.due_s <= 0
    assert world.try_once(seen) is None
    assert len(world.receiver.calls) == 1


def test_nothing_is_lost_while_the_broker_is_away(world: Callbacks) -> None:
    """The last try failed and cannot be set aside: there is one more."""
    world.receiver.answers = [500]
    decision = world.finished()
    world.publisher.refused.add(topology.dead_queue(topology.CALLBACKS))
    left = world.try_once(PendingCall(world.add(decision).upload_id, "h", 9, 0.0))
    assert left is not None
    assert world.result(decision) is None


def test_a_rejected_upload_is_sent_with_its_code(world: Callbacks) -> None:
    decision = world.asked(data=b"not a photo at all")
    assert decision.kind == "rejected"
    world.try_once(world.add(decision))
    ((_, _, message),) = world.receiver.calls
    assert (message["data"]["status"], message["data"]["error"]["code"]) == (
        "rejected",
        "unsupported_format",
    )
    assert "links" not in message["data"]


def test_a_failed_photo_is_sent_with_its_code(world: Callbacks) -> None:
    decision = world.asked()
    receipt = world.receipt(decision)
    reason = Reason(
        upload_id=receipt.upload_id,
        task_id=receipt.task_id,
        status="failed",
        error_code=Code.DECODE_ERROR,
        error_detail="…",
        source=receipt.source,
        at=world.clock.now(),
    )
    world.store.put(
        "quarantine",
        keys.reason(receipt.upload_id),
        reason.to_bytes(),
        "application/json",
    )
    world.try_once(world.add(decision))
    ((_, _, message),) = world.receiver.calls
    assert (message["data"]["status"], message["data"]["error"]) == (
        "failed",
        {"code": "decode_error"},
    )


def test_a_duplicate_is_sent_with_the_result_it_shares(world: Callbacks) -> None:
    world.restore(world.asked())
    again = world.asked("again.png")
    assert again.kind == "duplicate"
    world.try_once(world.add(again))
    ((_, _, message),) = world.receiver.calls
    assert (message["data"]["status"], message["data"]["upload_id"]) == (
        "duplicate",
        again.upload_id,
    )
    assert message["data"]["links"]


def test_the_same_bytes_put_again_later_are_another_call(world: Callbacks) -> None:
    """The same upload id, another upload: it has an end of its own, and a webhook-id of
    its own.
    """
    world.try_once(world.add(world.finished()))
    world.clock.advance(60)
    world.try_once(world.add(world.asked()))
    idents = [ident for _, ident, _ in world.receiver.calls]
    assert len(set(idents)) == 2


@pytest.mark.parametrize("gone", [True, False])
def test_who_did_not_end_or_is_erased_is_not_called(
    world: Callbacks, gone: bool
) -> None:
    """A message is a hint: the bucket says whether there is anything to tell."""
    decision = world.asked()
    due = world.add(decision)
    if gone:
        world.store.delete("results", keys.receipt(due.upload_id))
    assert world.try_once(due) is None
    assert world.receiver.calls == []
    assert world.due_keys() == []


def test_the_handler_asks_for_the_call_with_the_decision_that_ends_it(
    world: Callbacks,
) -> None:
    """A rejection and a duplicate end at once; what is queued is the worker's to tell.
    Nobody who did not ask.
    """
    world.asked()
    assert world.publisher.bodies(topology.CALLBACKS) == []
    world.upload("plain.png", b"junk")
    assert world.publisher.bodies(topology.CALLBACKS) == []
    rejected = world.asked("b.png", b"junk!")
    assert [
        CallbackDue.decode(body).upload_id
        for body in world.publisher.bodies(topology.CALLBACKS)
    ] == [rejected.upload_id]


def test_ends_are_told_beside_the_log_event(world: Callbacks) -> None:
    """`success`, `failed`, `rejected`, `duplicate` of an upload that asked; never
    `queued` and `processing`.
    """
    receipt = world.receipt(world.asked())
    event = events.of_receipt(receipt, "results")
    for kind in ("queued", "processing", "success", "failed", "rejected", "duplicate"):
        events.publish_event(
            world.publisher, event.model_copy(update={"kind": kind}), receipt
        )
    assert len(world.publisher.bodies(topology.CALLBACKS)) == 4


def test_an_upload_whose_callback_may_not_be_called_is_rejected(
    world: Callbacks,
) -> None:
    """With the rule; and nobody is called."""
    decision = world.asked(url="https://127.0.0.1/")
    assert (decision.kind, decision.code) == ("rejected", Code.BAD_PARAMETER)
    assert world.receipt(decision).callback is None


def test_a_url_is_taken_as_it_is(world: Callbacks) -> None:
    """Its percent-escapes are its own."""
    url = "https://hooks.example.com/a%2Fb?c=%20%25"
    assert world.receipt(world.asked(url=url)).callback == url


def test_damaged_notes_cost_a_call_not_a_photo(world: Callbacks) -> None:
    due = world.add(world.finished())
    world.store.put(
        "results", keys.callback_due(due.upload_id, 0), b"{", "application/json"
    )
    (seen,) = world.call_log.pending()
    assert world.try_once(seen) is None
    assert len(world.receiver.calls) == 1


def test_the_sweep_sees_what_is_due_and_what_is_done(world: Callbacks) -> None:
    decision = world.finished()
    ref = world.receipt(decision).ref
    assert not world.call_log.has(ref)
    due = world.add(decision)
    assert world.call_log.has(ref)
    world.try_once(due)
    assert world.call_log.has(ref)
    later = ref._replace(upload_time=ref.upload_time + timedelta(seconds=1))
    assert not world.call_log.has(later)


def test_a_fresh_start_has_an_end_of_its_own(world: Callbacks) -> None:
    """A person sent a failed photo on its way again: what comes of it is told, with
    another webhook-id.
    """
    decision = world.asked()
    receipt = world.receipt(decision)
    for retries in (0, 1):
        again = receipt.model_copy(update={"retries": retries})
        world.store.put(
            "results",
            keys.receipt(receipt.upload_id),
            again.to_bytes(),
            "application/json",
        )
        reason = Reason(
            upload_id=receipt.upload_id,
            task_id=receipt.task_id,
            status="failed",
            error_code=Code.DECODE_ERROR,
            error_detail="…",
            source=receipt.source,
            retries=retries,
            at=world.clock.now(),
        )
        world.store.put(
            "quarantine",
            keys.reason(receipt.upload_id),
            reason.to_bytes(),
            "application/json",
        )
        world.try_once(world.add(decision))
        task = RestoreTask(
            task_id=receipt.task_id or "",
            upload_id=receipt.upload_id,
            priority="bulk",
            queued_at=receipt.decided_at,
        )
        assert (
            reopen(
                task,
                world.store,
                world.publisher,
                world.ctx.settings,
                world.clock.now(),
            )
            is True
        )
        assert world.result(decision) is None
    assert (
        len({ident for _, ident, _ in world.receiver.calls})
        == len(world.receiver.calls)
        == 2
    )
