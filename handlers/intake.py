"""From a notification's bytes to decisions: what every door does once it has the bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from handlers import metrics
from handlers.context import Context
from handlers.notifications import parse
from handlers.on_upload import Decision, on_upload
from shared.errors import MessageError, TransientError
from shared.telemetry import logger

Door = Literal["http", "queue", "function"]


def take_in(body: bytes, headers: Mapping[str, str], ctx: Context, door: Door) -> list[Decision]:
    """Decide on every event of one notification. `headers`: names in lower case.

    Raises `MessageError` for bytes that are no notification, `StorageUnavailable` when the store is down: then the
    whole notification must come again, and what was decided already is found decided.
    """
    try:
        decisions = [on_upload(event, ctx) for event in parse(body, headers, ctx.settings.bucket_uploads)]
    except MessageError as error:
        metrics.NOTIFICATIONS.labels(door=door, outcome="unreadable").inc()
        logger().warning("notification.unreadable", door=door, bytes=len(body), detail=error.detail[:200])
        raise
    except TransientError:
        metrics.NOTIFICATIONS.labels(door=door, outcome="postponed").inc()
        raise
    metrics.NOTIFICATIONS.labels(door=door, outcome="read").inc()
    return decisions
