"""From a notification's bytes to decisions: what every door does once it has the bytes."""

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

Door = Literal["http", "queue", "function"]


def take_in(
    body: bytes, headers: Mapping[str, str], ctx: Context, door: Door
) -> list[Decision]:
    """Decide on every event of one notification. `headers`: names in lower case.

    Raises `MessageError` for bytes that are no notification, `StorageUnavailable` when
    the store is down: then the whole notification must come again, and what was decided
    already is found decided.
    """
    try:
        decisions = _decide_all(parse(body, headers, ctx.settings.bucket_uploads), ctx)
    except MessageError as error:
        metrics.NOTIFICATIONS.labels(door=door, outcome="unreadable").inc()
        logger().warning(
            "notification.unreadable",
            door=door,
            bytes=len(body),
            detail=error.detail[:200],
        )
        raise
    except TransientError:
        metrics.NOTIFICATIONS.labels(door=door, outcome="postponed").inc()
        raise
    metrics.NOTIFICATIONS.labels(door=door, outcome="read").inc()
    return decisions


def _decide_all(events: Sequence[UploadEvent], ctx: Context) -> list[Decision]:
    """Every event is looked at before the first fault, a passing one if there is any,
    is raised: one hides no other.
    """
    decisions, faults = [], []
    for event in events:
        try:
            decisions.append(on_upload(event, ctx))
        except Exception as error:
            faults.append(error)
    for fault in sorted(
        faults, key=lambda fault: not isinstance(fault, TransientError)
    ):
        raise fault
    return decisions
