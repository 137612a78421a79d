"""The queues, by name. Each has a `.dead` beside it."""

from __future__ import annotations

from typing import Final

from shared.messages import Priority

UPLOADS: Final = "darkroom.uploads"
"""Storage notifications that arrive by queue."""
INTERACTIVE: Final = "darkroom.restore.interactive"
BULK: Final = "darkroom.restore.bulk"
LOG: Final = "darkroom.log"

ALL: Final = (UPLOADS, INTERACTIVE, BULK, LOG)


def dead(queue: str) -> str:
    """Where messages of `queue` end that nobody can use, each with its reason."""
    return f"{queue}.dead"


def restore_queue(priority: Priority) -> str:
    return INTERACTIVE if priority == "interactive" else BULK
