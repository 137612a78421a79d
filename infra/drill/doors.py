"""The doors of a stack, used once: a photo by ticket, its result, its row of the log."""

from __future__ import annotations

import time
from pathlib import Path
from secrets import randbelow

from infra.drill import photos
from infra.drill.own_stack import OwnStack
from shared.errors import Code, DarkroomError, PermanentError

OPEN_S = 300.0
ROW_S = 60.0
PAUSE_S = 0.5
FIRST = 1 << 20
"""Numbers of photos that no other part of the drill sends."""


def pass_through(stack: OwnStack, folder: Path) -> str:
    """Send a new photo, get its result and find its row; returns the task.

    Raises `PermanentError` where a door stays shut.
    """
    with stack.client() as client:
        ticket = photos.send(client, folder, FIRST + randbelow(1 << 20))
        state = client.wait(ticket, OPEN_S)
        if not state.restored or state.task_id is None:
            raise PermanentError(
                Code.INTERNAL,
                f"a photo by ticket ended as {state.status}: {state.error_detail}",
            )
        client.result(state.task_id)
        ends_s = time.monotonic() + ROW_S
        while time.monotonic() < ends_s:
            try:
                rows = client.task(state.task_id)["uploads"]
            except DarkroomError:
                rows = []
            if any(row["status"] == "success" for row in rows):
                return state.task_id
            time.sleep(PAUSE_S)
    raise PermanentError(Code.INTERNAL, "a restored photo has no row in the log")
