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
    """What this trigger needs of `handlers.audit_log.database.AuditLog`."""

    def write(self, events: Sequence[LogEvent]) -> Written: ...


@dataclass(frozen=True)
class Recorded:
    """All messages but the `refused` ones (by position, with the reason) are committed."""

    written: Written
    refused: Mapping[int, PermanentError]

    def followed_by(self, second: Recorded, position: int) -> Recorded:
        """Join the results of two parts of a batch; the second begins at `position`."""
        refused = dict(self.refused)
        for place, fault in second.refused.items():
            refused[position + place] = fault
        return Recorded(self.written + second.written, refused)


def on_record(bodies: Sequence[bytes], audit_log: EventWriter) -> Recorded:
    """Write all messages that can be read.

    A message that meets a bug is found by halving its batch, and refused: otherwise it
    would hold up the others for ever. Raises `DatabaseUnavailable`: nothing is lost, and
    the same call can be made again.
    """
    try:
        return _record(bodies, audit_log)
    except (DatabaseUnavailable, OSError, MemoryError):
        raise  # the fault is not in the messages
    except Exception as error:
        if len(bodies) > 1:
            middle = len(bodies) // 2
            first = on_record(bodies[:middle], audit_log)
            second = on_record(bodies[middle:], audit_log)
            return first.followed_by(second, middle)
        return _refused(error)


def _record(bodies: Sequence[bytes], audit_log: EventWriter) -> Recorded:
    events: list[LogEvent] = []
    refused: dict[int, PermanentError] = {}
    for position, body in enumerate(bodies):
        try:
            events.append(LogEvent.decode(body))
        except MessageError as error:
            refused[position] = error
    written = audit_log.write(events) if events else Written()
    return Recorded(written, refused)


def _refused(error: Exception) -> Recorded:
    """The result of a single message that met a bug."""
    logger().error("log.failed", error=type(error).__name__, where=raised_at(error))
    detail = f"{type(error).__name__} while it was written"
    return Recorded(Written(), {0: PermanentError(Code.INTERNAL, detail)})
