"""The queues, by name. Each has a dead queue beside it.

Tasks wait in lanes, which workers empty in turn, so that no user waits behind another
user's thousand photos. All photos of a user share a lane; as there are few lanes,
several users may share one. The receipt says in which lane a photo is; photos without a
user are in lane 0. Interactive work has lanes of its own, fewer, as it is short.
"""

from __future__ import annotations

from typing import Final, Literal

Priority = Literal["interactive", "bulk"]

UPLOADS: Final = "darkroom.uploads"
"""Storage notifications that arrive by queue."""
INTERACTIVE: Final = "darkroom.restore.interactive"
BULK: Final = "darkroom.restore.bulk"
LOG: Final = "darkroom.log"
CALLBACKS: Final = "darkroom.callbacks"

LANES: Final = (BULK, *(f"{BULK}.{number}" for number in range(1, 9)))
"""Lane 0, and the lanes over which users are spread. Their number must never shrink:
receipts name lanes by number.
"""
INTERACTIVE_LANES: Final = (
    INTERACTIVE,
    *(f"{INTERACTIVE}.{number}" for number in range(1, 5)),
)
"""The lanes of interactive work. As there are fewer, several lane numbers of receipts
share one.
"""

PREVIEW: Final = "darkroom.restore.preview"
"""Previews and pyramids are limited for each user, have no row in the audit log, and are not
republished when lost. They have a queue of their own, as the sweep counts the messages
of photos.
"""

COUNTED: Final = (*INTERACTIVE_LANES, *LANES)
"""Queues with one message for each photo that waits."""
RESTORE: Final = (PREVIEW, *COUNTED)
ALL: Final = (UPLOADS, *RESTORE, LOG, CALLBACKS)


def dead_queue(queue: str) -> str:
    """The queue of the dead letters from `queue`."""
    return f"{queue}.dead"


def restore_queue(priority: Priority, lane: int = 0, preview: bool = False) -> str:
    """The queue of a task.

    A lane that this release does not have, as another one does, is lane 0.
    """
    if preview:
        return PREVIEW
    if not 0 < lane < len(LANES):
        lane = 0
    if priority == "bulk":
        return LANES[lane]
    if lane == 0:
        return INTERACTIVE
    users_lanes = INTERACTIVE_LANES[1:]
    return users_lanes[(lane - 1) % len(users_lanes)]


def lane_of(user_hash: str) -> int:
    """The lane of a user, by the pseudonym, which is distributed evenly."""
    users_lanes = len(LANES) - 1
    return int(user_hash[:8], 16) % users_lanes + 1
