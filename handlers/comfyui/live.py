"""`/ws`: events of a client's prompts as they go on.

The bucket is read every second, so that it does not matter which process took a prompt
in. A connection is told of the prompts with its own `clientId`, and of those without
one, all of its own user.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from uuid import uuid4
from weakref import WeakValueDictionary

import anyio
from anyio.to_thread import run_sync
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from handlers.comfyui import history, progress
from handlers.comfyui.desk import Desk
from handlers.comfyui.documents import Prompt
from handlers.comfyui.progress import Progress
from handlers.http.problems import RETRY_AFTER_S, Problem
from shared.errors import TransientError

MOST = 64
"""Connections at the same time in one process."""
MOST_OF_ONE = 8
"""Of these, connections of one user."""
READS_AT_ONCE = 4
POLL_S = 1.0
SEND_S = 20.0
"""A client that takes nothing for so long is cut off."""
LONGEST_S = 3600.0
"""Then the client connects again, with a key that is looked at again."""
MOST_SID_CHARS = 100
GOING_AWAY = 1001

Event = tuple[str, dict[str, Any]]


class Connections:
    """The connections of all users, for one event loop."""

    def __init__(self) -> None:
        self._all = anyio.CapacityLimiter(MOST)
        self._reads = anyio.CapacityLimiter(READS_AT_ONCE)
        self._users: WeakValueDictionary[str, anyio.CapacityLimiter] = (
            WeakValueDictionary()
        )

    async def serve(self, socket: WebSocket, desk: Desk) -> None:
        """Tell a client of its prompts until it leaves. Raises `Problem` 503 before the
        connection is taken, where there are too many.
        """
        user_hash = desk.principal.user_hash
        own = self._users.setdefault(user_hash, anyio.CapacityLimiter(MOST_OF_ONE))
        borrower = object()
        try:
            own.acquire_on_behalf_of_nowait(borrower)
        except anyio.WouldBlock:
            raise _too_many() from None
        try:
            self._all.acquire_on_behalf_of_nowait(borrower)
        except anyio.WouldBlock:
            own.release_on_behalf_of(borrower)
            raise _too_many() from None
        try:
            await _serve(socket, desk, self._reads)
        finally:
            self._all.release_on_behalf_of(borrower)
            own.release_on_behalf_of(borrower)


class Watch:
    """What one connection was told already."""

    def __init__(self, desk: Desk, client_id: str) -> None:
        self._desk = desk
        self._client_id = client_id
        self._left = -1
        self._begun: set[str] = set()
        self._ended: set[str] = set()
        self._shares: dict[str, float] = {}

    def look(self) -> list[Event]:
        """The events since the last look; it blocks. Raises `TransientError`."""
        looked_at = progress.underway(self._desk)
        events: list[Event] = []
        for each in looked_at:
            if each.prompt.client_id in (None, self._client_id):
                events += self._of(each)
        known = {each.prompt.prompt_id for each in looked_at}
        for prompt_id in self._begun - self._ended - known:
            events += self._of_missing(prompt_id)
        left = len(self._desk.shelf.open_ids())
        if left != self._left:
            self._left = left
            status = {"exec_info": {"queue_remaining": left}}
            events.append(("status", {"status": status}))
        return events

    def _of(self, found: Progress) -> list[Event]:
        prompt, prompt_id = found.prompt, found.prompt.prompt_id
        if prompt_id in self._ended or found.status == "pending":
            return []
        events: list[Event] = []
        if prompt_id not in self._begun:
            self._begun.add(prompt_id)
            events += _begin(prompt)
        if found.ended:
            self._ended.add(prompt_id)
            self._shares.pop(prompt_id, None)
            return events + _end(prompt)
        if self._shares.get(prompt_id) != found.share:
            self._shares[prompt_id] = found.share
            events.append(_progress(found))
        return events

    def _of_missing(self, prompt_id: str) -> list[Event]:
        """Events of a prompt that is not open any more."""
        prompt = self._desk.shelf.prompt(prompt_id)
        if prompt is None:
            self._ended.add(prompt_id)
            data = {"node": None, "display_node": None, "prompt_id": prompt_id}
            return [("executing", data)]
        return self._of(progress.look(self._desk, prompt))


async def _serve(socket: WebSocket, desk: Desk, reads: anyio.CapacityLimiter) -> None:
    given = socket.query_params.get("clientId", "")[:MOST_SID_CHARS]
    client_id = given or uuid4().hex
    watch = Watch(desk, client_id)
    await socket.accept()
    leaving = asyncio.ensure_future(_left(socket))
    try:
        async with asyncio.timeout(LONGEST_S):
            await _tell(socket, watch, client_id, reads, leaving)
    except (TimeoutError, WebSocketDisconnect, OSError, RuntimeError):
        # It has left, takes nothing, or has been here for long.
        pass
    finally:
        leaving.cancel()
        with suppress(Exception):
            if socket.application_state is WebSocketState.CONNECTED:
                await socket.close(GOING_AWAY)


async def _tell(
    socket: WebSocket,
    watch: Watch,
    client_id: str,
    reads: anyio.CapacityLimiter,
    leaving: asyncio.Future[None],
) -> None:
    is_first = True
    while not leaving.done():
        events: list[Event] = []
        with suppress(TransientError):
            events = await run_sync(watch.look, limiter=reads)
        for name, data in events:
            if is_first and name == "status":
                is_first = False
                data = {**data, "sid": client_id}
            async with asyncio.timeout(SEND_S):
                await socket.send_json({"type": name, "data": data})
        await asyncio.wait([leaving], timeout=POLL_S)


async def _left(socket: WebSocket) -> None:
    """Ends when the client leaves. What it says is of no interest."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return


def _begin(prompt: Prompt) -> list[Event]:
    start = {"prompt_id": prompt.prompt_id, "timestamp": prompt.number}
    events: list[Event] = [
        ("execution_start", start),
        ("execution_cached", {"nodes": [], **start}),
    ]
    nodes = [output.node for output in prompt.outputs]
    return events + [("executing", _node(prompt, node)) for node in nodes]


def _end(prompt: Prompt) -> list[Event]:
    end = prompt.end
    assert end is not None
    events: list[Event] = []
    for output in prompt.outputs:
        if output.node not in end.failed:
            shown = {"images": [output.shown()]}
            data = {**_node(prompt, output.node), "output": shown}
            events.append(("executed", data))
    events.append(history.last_message(prompt, end))
    data = {"node": None, "display_node": None, "prompt_id": prompt.prompt_id}
    events.append(("executing", data))
    return events


def _progress(found: Progress) -> Event:
    prompt = found.prompt
    data = {
        "value": int(found.share * 100),
        "max": 100,
        "prompt_id": prompt.prompt_id,
        "node": prompt.outputs[0].node,
    }
    return "progress", data


def _node(prompt: Prompt, node: str) -> dict[str, Any]:
    return {"node": node, "display_node": node, "prompt_id": prompt.prompt_id}


def _too_many() -> Problem:
    detail = f"{MOST} connections, or {MOST_OF_ONE} of yours, are open; ask GET /history/{{prompt_id}} instead"
    return Problem(503, detail, "busy", {"Retry-After": str(RETRY_AFTER_S)})
