"""From the bytes of a notification to decisions, whichever way the bytes came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from handlers import metrics
from handlers.context import Context
from handlers.intake.decision import Decision
from handlers.intake.notifications import UploadEvent, parse
from handlers.on_upload import on_upload
from shared.errors import MessageError, TransientError
from shared.runtime.telemetry import logger

EntryPoint = Literal["http", "queue", "function"]
"""The way on which a notification came: HTTP, a queue, or a cloud function."""


def take_in(
    body: bytes,
    headers: Mapping[str, str],
    ctx: Context,
    entry_point: EntryPoint,
) -> list[Decision]:
    """Decide on every event of one notification. `headers`: names in lower case.

    Raises `MessageError` for bytes that are no notification, and `StorageUnavailable`
    when the store is down: then the whole notification must come again, and what was
    decided already is found decided.
    """

    def count(outcome: str) -> None:
        metrics.NOTIFICATIONS.labels(door=entry_point, outcome=outcome).inc()

    try:
        events = parse(body, headers, ctx.settings.bucket_uploads)
        decisions = _decide_all(events, ctx)
    except MessageError as error:
        count("unreadable")
        logger().warning(
            "notification.unreadable",
            door=entry_point,
            bytes=len(body),
            detail=error.detail[:200],
        )
        raise
    except TransientError:
        count("postponed")
        raise
    count("read")
    return decisions


def _decide_all(events: Sequence[UploadEvent], ctx: Context) -> list[Decision]:
    """Decide on each event, before the first error is raised: no event hides another.

    A transient error is raised before others.
    """
    decisions: list[Decision] = []
    errors: list[Exception] = []
    for event in events:
        try:
            decisions.append(on_upload(event, ctx))
        except Exception as error:
            errors.append(error)
    transient = [fault for fault in errors if isinstance(fault, TransientError)]
    for fault in transient or errors:
        raise fault
    return decisions
