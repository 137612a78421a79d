"""The Lambda door: recorded events of every way to a function, and what of a batch
comes again.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from handlers import aws_lambda
from handlers.audit_log.values import Written
from handlers.intake.decision import Decision
from handlers.intake.notifications import UploadEvent
from shared.broker import topology
from shared.broker.envelope import seal
from shared.errors import Code, DatabaseUnavailable, StorageUnavailable
from shared.uploads.messages import LogEvent
from tests.support.upload_world import World, photo
from tests.unit.handlers.http.test_app import notification

EVENTS = Path(__file__).parents[2] / "events"
EXPECTED: dict[str, Any] = json.loads((EVENTS / "expected.json").read_bytes())
OF_AMAZON = sorted(
    path.stem
    for path in EVENTS.glob("*.json")
    if path.stem.startswith(("aws-", "eventbridge-"))
)
NO_EVENT = {"hello": 1}


class MemoryAuditLog:
    def __init__(self) -> None:
        self.events: list[LogEvent] = []
        self.down = False

    def write(self, events: Sequence[LogEvent]) -> Written:
        if self.down:
            raise DatabaseUnavailable("down")
        self.events += events
        return Written(len(events), 0, 0)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(aws_lambda, "_context", lambda: world.ctx)
    monkeypatch.setattr(aws_lambda, "_publisher", lambda: world.publisher)
    return world


@pytest.fixture
def audit_log(monkeypatch: pytest.MonkeyPatch) -> MemoryAuditLog:
    audit_log = MemoryAuditLog()
    monkeypatch.setattr(aws_lambda, "_audit_log", lambda: audit_log)
    return audit_log


def recorded(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_bytes())
    return event


def batch(*bodies: bytes | str) -> dict[str, Any]:
    """An SQS batch whose messages are numbered."""
    texts = [body if isinstance(body, str) else body.decode() for body in bodies]
    return {
        "Records": [
            {"messageId": str(number), "body": text, "eventSource": "aws:sqs"}
            for number, text in enumerate(texts)
        ]
    }


def failed(answer: dict[str, Any]) -> list[str]:
    assert set(answer) == {"batchItemFailures"}
    return [item["itemIdentifier"] for item in answer["batchItemFailures"]]


def dead(world: World, queue: str = topology.UPLOADS) -> list[str]:
    return [
        sent.headers["code"]
        for sent in world.publisher.sent
        if sent.queue == topology.dead_queue(queue)
    ]


@pytest.mark.parametrize("name", OF_AMAZON)
def test_recorded_events_reach_the_trigger(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Directly, by SQS, SNS and EventBridge: every object that an event names is
    decided on, nothing is set aside.
    """
    seen: list[str] = []

    def on_upload(event: UploadEvent, _ctx: Any) -> Decision:
        seen.append(event.key)
        return Decision("ignored")

    monkeypatch.setattr("handlers.take_in.on_upload", on_upload)
    answer = aws_lambda.on_object_created(recorded(name))
    assert seen == [event["key"] for event in EXPECTED[name]["events"]]
    assert answer.get("batchItemFailures", []) == []
    assert dead(world) == []


def test_only_what_met_a_passing_fault_comes_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a batch: good ones are done, bad ones are set aside with their reason, the
    others are named.
    """
    world.put("good.png", photo())
    world.put("slow.png", photo(colour=9))
    real = aws_lambda.take_in

    def take_in(body: bytes, *rest: Any) -> Any:
        if b"bug" in body:
            raise RuntimeError("a bug")
        world.store.unavailable = b"slow.png" in body
        return real(body, *rest)

    monkeypatch.setattr(aws_lambda, "take_in", take_in)
    answer = aws_lambda.on_object_created(
        batch(
            notification("slow.png"),
            notification("good.png"),
            json.dumps(NO_EVENT),
            "not json",
            b'"bug"',
        )
    )
    world.store.unavailable = False
    monkeypatch.setattr(aws_lambda, "take_in", real)
    assert failed(answer) == ["0", "4"]
    assert dead(world) == [Code.BAD_MESSAGE] * 2
    assert len(world.tasks()) == 1
    assert failed(aws_lambda.on_object_created(batch(notification("slow.png")))) == []
    assert len(world.tasks()) == 2


def test_a_dead_message_is_not_lost_with_the_broker(world: World) -> None:
    """What cannot be set aside comes again."""
    world.publisher.refused.add(topology.dead_queue(topology.UPLOADS))
    assert failed(aws_lambda.on_object_created(batch(json.dumps(NO_EVENT)))) == ["0"]


def test_our_own_envelopes_are_opened(world: World) -> None:
    """A message that a person sent on its way again from the dead queue, as kombu's SQS
    transport writes it.
    """
    world.put("a.png", photo())
    sealed = seal(notification("a.png"), {}, topology.UPLOADS)
    assert (
        failed(aws_lambda.on_object_created(batch(base64.b64encode(sealed.encode()))))
        == []
    )
    assert len(world.tasks()) == 1


def test_outside_sqs_a_passing_fault_is_raised(world: World) -> None:
    """AWS delivers such an event again; one that nobody can read is set aside and not
    delivered again.
    """
    world.put("a.png", photo())
    event = json.loads(notification("a.png"))
    world.store.unavailable = True
    with pytest.raises(StorageUnavailable):
        aws_lambda.on_object_created(event)
    world.store.unavailable = False
    (decision,) = aws_lambda.on_object_created(event)["decisions"]
    assert decision["kind"] == "queued"
    assert aws_lambda.on_object_created(NO_EVENT) == {"decisions": []}
    assert dead(world) == [Code.BAD_MESSAGE]


def test_answers_are_json(world: World) -> None:
    """Lambda serialises what a function returns."""
    world.put("a.png", photo())
    for event in (json.loads(notification("a.png")), batch(notification("a.png"))):
        json.dumps(aws_lambda.on_object_created(event))


def log_events(world: World) -> list[bytes]:
    world.upload("a.png", photo())
    return world.publisher.bodies(topology.LOG)


def test_log_batches_are_written(world: World, audit_log: MemoryAuditLog) -> None:
    """Plain or in an envelope; what is no log event is set aside; while the audit log is
    down, all comes again.
    """
    (body,) = log_events(world)
    sealed = base64.b64encode(seal(body, {}, topology.LOG).encode())
    event = batch(body, sealed, "junk")
    audit_log.down = True
    assert failed(aws_lambda.on_record(event)) == ["0", "1", "2"]
    audit_log.down = False
    assert failed(aws_lambda.on_record(event)) == []
    assert [event.event_id for event in audit_log.events] == [
        LogEvent.decode(body).event_id
    ] * 2
    assert dead(world, topology.LOG) == [Code.BAD_MESSAGE]


def test_a_schedule_sweeps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """`since` and `dry_run` of its event are passed on; the answer is the report."""
    seen: list[Any] = []

    def on_sweep(ctx: Any, since: Any, dry_run: bool, *, audit_log: Any) -> Any:
        seen.append((since, dry_run, audit_log))
        return aws_lambda.sweep_trigger.SweepReport(notifications_missed=3)

    monkeypatch.setattr(aws_lambda.sweep_trigger, "on_sweep", on_sweep)
    assert (
        aws_lambda.on_sweep({"source": "aws.events", "detail-type": "Scheduled Event"})[
            "missed"
        ]
        == 3
    )
    aws_lambda.on_sweep({"since": "2026-01-02T00:00:00+00:00", "dry_run": True})
    assert seen == [(None, False, None), (datetime(2026, 1, 2, tzinfo=UTC), True, None)]
