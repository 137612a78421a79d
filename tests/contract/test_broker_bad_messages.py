"""One suite over every broker, part six: what is no message of ours is set aside, byte
by byte, with its reason.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from shared.broker.consumer import Delivery
from shared.broker.publisher import Publisher
from shared.broker.topology import dead_queue
from shared.errors import PermanentError
from shared.runtime.settings import Settings
from shared.uploads.messages import CallbackDue, LogEvent, RestoreTask
from tests.support.harness import consuming
from tests.support.waiting import eventually

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WHOLE = {
    RestoreTask: RestoreTask(
        task_id="t", upload_id="u", priority="bulk", queued_at=NOW
    ).encode(),
    LogEvent: LogEvent(
        event_id="e", upload_id="u", upload_time=NOW, kind="queued", at=NOW
    ).encode(),
    CallbackDue: CallbackDue(upload_id="u").encode(),
}
BAD = {
    "unreadable": lambda _: b"\xff\x00{",
    "empty object": lambda _: b"{}",
    "foreign version": lambda whole: json.dumps(json.loads(whole) | {"v": 99}).encode(),
    "oversized": lambda whole: json.dumps(
        json.loads(whole) | {"filler": "x" * 100_000}
    ).encode(),
}


@pytest.mark.parametrize("kind", WHOLE, ids=lambda kind: kind.__name__)
def test_bad_messages_are_kept_among_the_dead(
    settings: Settings, queue: str, kind: type[RestoreTask]
) -> None:
    """Unreadable, foreign, oversized: to `.dead` at once, bytes unchanged; a whole one
    between them is not held up.
    """
    bodies = [spoil(WHOLE[kind]) for spoil in BAD.values()]

    def settle(delivery: Delivery) -> None:
        try:
            kind.decode(delivery.body)
        except PermanentError as error:
            delivery.dead(error.code, error.detail)
        else:
            delivery.ack()
            good.append(delivery.body)

    good: list[bytes] = []
    publisher = Publisher(settings)
    with consuming(settings, {queue: 5}, settle):
        for body in [*bodies, WHOLE[kind]]:
            publisher.publish(queue, body)
        with consuming(settings, {dead_queue(queue): 5}, lambda d: d.ack()) as aside:
            taken = aside.take(len(bodies))
        eventually(lambda: good == [WHOLE[kind]], "the whole message")
    assert sorted(delivery.body for delivery in taken) == sorted(bodies)
    assert {delivery.headers["code"] for delivery in taken} == {"bad_message"}
    publisher.close()


@pytest.mark.parametrize("size", [200_000, 900_000])
def test_a_message_too_large_to_be_wrapped_holds_up_nobody(
    settings: Settings, queue: str, size: int
) -> None:
    """SQS takes 1 MiB, which an envelope of ours can exceed: such a text is set aside
    as it came.
    """
    body = b"x" * size
    publisher = Publisher(settings)
    with consuming(
        settings, {queue: 1}, lambda d: d.dead("bad_message", "too large")
    ) as taken:
        publisher.publish(queue, body)
        publisher.publish(queue, b"next")
        assert [d.body for d in taken.take(2)] == [body, b"next"]
        with consuming(settings, {dead_queue(queue): 2}, lambda d: d.ack()) as aside:
            assert sorted(d.body for d in aside.take(2)) == sorted([body, b"next"])
    publisher.close()
