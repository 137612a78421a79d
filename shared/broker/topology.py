"""The queues, by name. Each has a `.dead` beside it.

Bulk work waits in lanes, which workers empty in turn, so that nobody waits behind somebody else's thousand photos: a
user's photos share a lane, and with few lanes it may be another user's, too. Which lane a photo is in is written in its
receipt; photos of nobody in particular are in lane 0.
"""

from __future__ import annotations

from typing import Final

from shared.messages import Priority

UPLOADS: Final = "darkroom.uploads"
"""Storage notifications that arrive by queue."""
INTERACTIVE: Final = "darkroom.restore.interactive"
BULK: Final = "darkroom.restore.bulk"
LOG: Final = "darkroom.log"
CALLBACKS: Final = "darkroom.callbacks"

LANES: Final = (BULK, *(f"{BULK}.{number}" for number in range(1, 9)))
"""Lane 0 and those that users are spread over. Never fewer than there were: receipts name them by number."""

RESTORE: Final = (INTERACTIVE, *LANES)
ALL: Final = (UPLOADS, *RESTORE, LOG, CALLBACKS)


def dead(queue: str) -> str:
    """Where messages of `queue` end that nobody can use, each with its reason."""
    return f"{queue}.dead"


def restore_queue(priority: Priority, lane: int = 0) -> str:
    """A lane of an earlier or later release that this one does not have is lane 0."""
    if priority == "interactive":
        return INTERACTIVE
    return LANES[lane] if lane < len(LANES) else BULK


def lane_of(user_hash: str) -> int:
    """The lane of a user who is somebody; `user_hash` is spread evenly already."""
    return int(user_hash[:8], 16) % (len(LANES) - 1) + 1
