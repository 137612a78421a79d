"""Trigger: a batch of log messages → the audit log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from handlers.audit_log.values import Written
from shared.errors import Code, DatabaseUnavailable, MessageError, PermanentError
from shared.runtime.telemetry import logger, raised_at
from shared.uploads.messages import LogEvent


class EventWriter(Protocol):
    """What of `handlers.audit_log.database.AuditLog` this trigger needs."""

    def write(self, events: Sequence[LogEvent]) -> Written: ...


@dataclass(frozen=True)
class Recorded:
    """All messages but `refused` (by position, with the reason) are committed."""

    written: Written
    refused: Mapping[int, PermanentError]


def on_record(bodies: Sequence[bytes], audit_log: EventWriter) -> Recorded:
    """Write all that can be read. Raises `DatabaseUnavailable`: nothing is lost, say it
    all again later.

    A message that meets a bug of ours is found in its batch and refused: it would hold
    the others up for ever.
    """
    try:
        return _recorded(bodies, audit_log)
    except (DatabaseUnavailable, OSError, MemoryError):  # about the surroundings
        raise
    except Exception as error:
        if len(bodies) > 1:
            middle = len(bodies) // 2
            first, second = (
                on_record(bodies[:middle], audit_log),
                on_record(bodies[middle:], audit_log),
            )
            later = {
                middle + position: fault for position, fault in second.refused.items()
            }
            return Recorded(first.written + second.written, {**first.refused, **later})
        logger().error("log.failed", error=type(error).__name__, where=raised_at(error))
        return Recorded(
            Written(),
            {
                0: PermanentError(
                    Code.INTERNAL, f"{type(error).__name__} while it was written"
                )
            },
        )


def _recorded(bodies: Sequence[bytes], audit_log: EventWriter) -> Recorded:
    events, refused = [], {}
    for position, body in enumerate(bodies):
        try:
            events.append(LogEvent.decode(body))
        except MessageError as error:
            refused[position] = error
    return Recorded(audit_log.write(events) if events else Written(), refused)
