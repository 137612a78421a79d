"""The queues, by name. Each has a `.dead` beside it.

Work waits in lanes, which workers empty in turn, so that nobody waits behind somebody
else's thousand photos: a user's photos share a lane, and with few lanes it may be
another user's, too. Which lane a photo is in is written in its receipt; photos of
nobody in particular are in lane 0. Interactive work has lanes of its own, fewer, as it
is short.
"""

from __future__ import annotations

from typing import Final

from shared.uploads.messages import Priority

UPLOADS: Final = "darkroom.uploads"
"""Storage notifications that arrive by queue."""
INTERACTIVE: Final = "darkroom.restore.interactive"
BULK: Final = "darkroom.restore.bulk"
LOG: Final = "darkroom.log"
CALLBACKS: Final = "darkroom.callbacks"

LANES: Final = (BULK, *(f"{BULK}.{number}" for number in range(1, 9)))
"""Lane 0 and those that users are spread over. Never fewer than there were: receipts
name them by number.
"""
INTERACTIVE_LANES: Final = (
    INTERACTIVE,
    *(f"{INTERACTIVE}.{number}" for number in range(1, 5)),
)
"""The same for interactive work; several lanes of a receipt share one of these."""

PREVIEW: Final = "darkroom.restore.preview"
"""Previews have a limit for each user, no row in the log, and nobody who misses them:
the sweep does not count them, so they must not lie among the photos whose messages it
counts.
"""

COUNTED: Final = (*INTERACTIVE_LANES, *LANES)
"""Where as many messages lie as photos wait."""
RESTORE: Final = (PREVIEW, *COUNTED)
ALL: Final = (UPLOADS, *RESTORE, LOG, CALLBACKS)


def dead_queue(queue: str) -> str:
    """Where messages of `queue` end that nobody can use, each with its reason."""
    return f"{queue}.dead"


def restore_queue(priority: Priority, lane: int = 0, preview: bool = False) -> str:
    """A lane of an earlier or later release that this one does not have is lane 0."""
    if preview:
        return PREVIEW
    if not 0 < lane < len(LANES):
        lane = 0
    if priority == "interactive":
        return (
            INTERACTIVE_LANES[(lane - 1) % (len(INTERACTIVE_LANES) - 1) + 1]
            if lane
            else INTERACTIVE
        )
    return LANES[lane]


def lane_of(user_hash: str) -> int:
    """The lane of a user who is somebody; `user_hash` is spread evenly already."""
    return int(user_hash[:8], 16) % (len(LANES) - 1) + 1
