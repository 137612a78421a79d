"""The async twin of `infra.client.DarkroomClient`.

    from infra.async_client import AsyncDarkroomClient

    async with AsyncDarkroomClient("https://darkroom.example", key) as client:
        ticket = await client.submit(Path("grandma.jpg"), workflow="portrait")
        state = await client.wait(ticket)

Each request runs on one of a few threads, so that both clients send the very same
requests. Waiting takes no thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, Self, TypeVar

from infra.client import POLL_S, Copy, DarkroomClient, Task, TaskRow, UploadState
from shared.errors import Code, TransientError

P = ParamSpec("P")
R = TypeVar("R")

THREADS = 8


class AsyncDarkroomClient:
    """A connection to one API with one key. Its methods are those of `DarkroomClient`
    with their parameters and errors.

    What is cancelled while a request is under way is still sent.
    """

    def __init__(self, url: str, key: str, **options: Any) -> None:
        """`options`: those of `DarkroomClient`."""
        self._client = DarkroomClient(url, key, **options)
        self._pool = ThreadPoolExecutor(THREADS, "darkroom")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections, after the requests that are under way."""
        await asyncio.to_thread(self._pool.shutdown)
        self._client.close()

    async def submit(self, path: Path, **wishes: Any) -> str:
        """Sends a photograph and returns its ticket."""
        return await self._run(partial(self._client.submit, path, **wishes))

    async def state(self, ticket: str) -> UploadState:
        """How far the upload of `ticket` has come."""
        return await self._run(self._client.state, ticket)

    async def wait(self, ticket: str, timeout_s: float = 3600.0) -> UploadState:
        """The state of an upload that has ended."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            state = await self.state(ticket)
            if state.ended:
                return state
            if time.monotonic() + POLL_S > deadline_s:
                detail = f"ticket {ticket} is {state.status} after {timeout_s:g} s"
                raise TransientError(Code.INTERNAL, detail)
            await asyncio.sleep(POLL_S)

    async def result(self, task_id: str) -> bytes:
        """The restored photograph, a PNG."""
        return await self._run(self._client.result, task_id)

    async def save(self, task_id: str, to: Path) -> None:
        """Writes the restored photograph to a file, whole or not at all."""
        await self._run(self._client.save, task_id, to)

    async def copies(self, task_id: str) -> list[Copy]:
        """The copies that were made beside a result."""
        return await self._run(self._client.copies, task_id)

    async def save_copy(self, task_id: str, copy: Copy, to: Path) -> None:
        """Writes a copy to a file, as `save` does."""
        await self._run(self._client.save_copy, task_id, copy, to)

    async def tasks(self, **which: Any) -> list[TaskRow]:
        """The latest uploads in the log, newest first."""
        return await self._run(partial(self._client.tasks, **which))

    async def task(self, task_id: str) -> Task:
        """One task with its uploads and events."""
        return await self._run(self._client.task, task_id)

    async def record(self, task_id: str) -> dict[str, Any]:
        """What was done to a restored photo."""
        return await self._run(self._client.record, task_id)

    async def cancel(self, task_id: str) -> None:
        """Ends a task that is not restored yet."""
        await self._run(self._client.cancel, task_id)

    async def erase(self, task_id: str) -> None:
        """Takes a photograph away, with all that was made of it."""
        await self._run(self._client.erase, task_id)

    async def erase_upload(self, ticket: str) -> None:
        """Takes away what was uploaded for a ticket."""
        await self._run(self._client.erase_upload, ticket)

    async def _run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        call = partial(work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)
