"""Trigger: a batch of log messages → the diary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from handlers.logbook import Written
from shared.errors import MessageError
from shared.messages import LogEvent


class Diary(Protocol):
    """What of `handlers.logbook.Logbook` this trigger needs."""

    def write(self, events: Sequence[LogEvent]) -> Written: ...


@dataclass(frozen=True)
class Recorded:
    """All messages but `refused` (by position, with the reason) are committed."""

    written: Written
    refused: Mapping[int, MessageError]


def on_record(bodies: Sequence[bytes], diary: Diary) -> Recorded:
    """Write all that can be read. Raises `DatabaseUnavailable`: nothing is lost, say it all again later."""
    events, refused = [], {}
    for position, body in enumerate(bodies):
        try:
            events.append(LogEvent.decode(body))
        except MessageError as error:
            refused[position] = error
    return Recorded(diary.write(events) if events else Written(), refused)
