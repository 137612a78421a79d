"""Entry points for AWS Lambda: the same triggers as in the processes, one function
each.

`handlers.aws_lambda.on_object_created` takes S3's events directly, by SQS, SNS and
EventBridge; `on_record` takes batches of `darkroom.log`; `on_sweep` is for a schedule
(its event may hold `since` and `dry_run`). For SQS the first two return the messages
to be delivered again, those that met a transient error (`ReportBatchItemFailures` must
be on). A useless message goes to the `.dead` queue with its reason, as in the
processes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from handlers import on_record as record_trigger
from handlers import on_sweep as sweep_trigger
from handlers.context import Context, Publisher
from handlers.reconcile.finished_ingests import tell_finished
from handlers.take_in import take_in
from shared import models
from shared.broker import topology
from shared.broker.dead_letter import DeadLetter
from shared.broker.envelope import Content, opened
from shared.broker.publisher import Publisher as BrokerPublisher
from shared.errors import (
    BrokerUnavailable,
    DatabaseUnavailable,
    PermanentError,
    TransientError,
)
from shared.runtime import telemetry
from shared.runtime.settings import Settings
from shared.runtime.telemetry import logger

if TYPE_CHECKING:
    from handlers.audit_log.database import AuditLog

Event = Mapping[str, Any]


@cache
def _settings() -> Settings:
    """Once for each environment of the function, not for each event; as what follows."""
    settings = Settings.load()
    telemetry.configure(settings, "lambda")
    models.use_local(settings.models_dir)
    return settings


@cache
def _context() -> Context:
    return Context.of(_settings())


@cache
def _publisher() -> Publisher:
    """For the function that writes the audit log, which needs no store and no pepper."""
    return BrokerPublisher(_settings())


@cache
def _audit_log() -> AuditLog:
    # Only here: a function that decides on uploads needs no database driver.
    from handlers.audit_log.database import AuditLog

    return AuditLog(_settings())


def on_object_created(event: Event, _context_of_aws: object = None) -> dict[str, Any]:
    """Decide on uploads.

    Outside SQS a transient error is raised: then AWS delivers the event again.
    """
    ctx = _context()
    messages = _sqs_messages(event)
    if messages is not None:
        return _failures(
            ident
            for ident, content in messages.items()
            if not _is_settled(content, ctx)
        )
    body = json.dumps(event).encode()
    try:
        decisions = take_in(body, {}, ctx, "function")
    except PermanentError as error:
        _dead_letter(ctx.publisher, topology.UPLOADS, Content(body, {}), error)
        return {"decisions": []}
    return {"decisions": [asdict(decision) for decision in decisions]}


def on_record(event: Event, _context_of_aws: object = None) -> dict[str, Any]:
    """Write log events into the audit log. While the database is down, the whole batch
    is delivered again.
    """
    messages = _sqs_messages(event) or {}
    idents = list(messages)
    contents = list(messages.values())
    bodies = [content.body for content in contents]
    try:
        recorded = record_trigger.on_record(bodies, _audit_log())
    except DatabaseUnavailable as error:
        logger().warning("log.postponed", events=len(idents), detail=error.detail)
        return _failures(idents)
    return _failures(
        idents[position]
        for position, error in recorded.refused.items()
        if not _is_dead_lettered(_publisher(), topology.LOG, contents[position], error)
    )


def on_sweep(event: Event, _context_of_aws: object = None) -> dict[str, Any]:
    """Run one pass and return its report.

    A transient error is raised; the next pass begins where this one began.
    """
    ctx = _context()
    since = event.get("since")
    begin = datetime.fromisoformat(since) if since else None
    has_database = bool(ctx.settings.database_url.get_secret_value())
    audit_log = _audit_log() if has_database else None
    dry_run = bool(event.get("dry_run"))
    report = sweep_trigger.on_sweep(ctx, begin, dry_run, audit_log=audit_log)
    if audit_log and not dry_run:
        tell_finished(ctx, audit_log)
    return report.printed()


def _sqs_messages(event: Event) -> dict[str, Content] | None:
    """Return the messages of an SQS batch by their ids, None for another event."""
    records = event.get("Records")
    if not isinstance(records, list) or not all(map(_is_of_sqs, records)):
        return None
    return {record["messageId"]: opened(record["body"].encode()) for record in records}


def _is_of_sqs(record: object) -> bool:
    return isinstance(record, dict) and record.get("eventSource") == "aws:sqs"


def _failures(idents: Iterable[str]) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": ident} for ident in idents]}


def _is_settled(content: Content, ctx: Context) -> bool:
    """Decide on one message of a batch. False: it must be delivered again."""
    headers = {
        name.lower(): value
        for name, value in content.headers.items()
        if isinstance(value, str)
    }
    try:
        take_in(content.body, headers, ctx, "function")
    except PermanentError as error:
        return _is_dead_lettered(ctx.publisher, topology.UPLOADS, content, error)
    except TransientError:
        return False
    except Exception as error:
        logger().error("notification.failed", exc_info=error)
        return False
    return True


def _is_dead_lettered(
    publisher: Publisher,
    queue: str,
    content: Content,
    error: PermanentError,
) -> bool:
    try:
        _dead_letter(publisher, queue, content, error)
    except BrokerUnavailable:
        return False
    return True


def _dead_letter(
    publisher: Publisher,
    queue: str,
    content: Content,
    error: PermanentError,
) -> None:
    letter = DeadLetter.of(
        queue,
        content.body,
        content.headers,
        error.code,
        error.detail,
        datetime.now(UTC),
    )
    letter.publish(publisher)
    logger().warning("message.dead", queue=queue, code=error.code)
