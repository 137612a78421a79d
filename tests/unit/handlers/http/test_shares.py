"""No user takes all threads: so many requests of one at the same time, fewer of those
that query the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from handlers.http.auth import shares
from handlers.http.auth.address import Addresses
from handlers.http.auth.limits import Limits
from handlers.http.auth.middleware import AuthMiddleware
from tests.support.access_world import Town


class Slow:
    """Stands for the app: every answer waits until it is let go; counts who is inside."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.release = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        user = scope["state"]["admitted"].principal.user_hash
        self.inside.append(user)
        await self.release.wait()
        self.inside.remove(user)
        await PlainTextResponse("done")(scope, receive, send)


def run(
    work: Callable[[Slow, Callable[[str, str], Awaitable[Any]]], Awaitable[None]],
) -> None:
    """`work(app, ask)`, where `ask(user, path)` is answered behind the middleware."""
    town = Town()
    keys = {user: town.key(user)[0] for user in ("ann", "bob")}

    async def main() -> None:
        app = Slow()
        ctx = town.world.ctx
        guarded = AuthMiddleware(
            app, ctx, Limits(ctx.settings, ctx.clock, lambda *_: 0), Addresses("")
        )
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(guarded), base_url="http://api"
        ) as client:

            async def ask(user: str, path: str) -> int:
                answer = await client.get(
                    path, headers={"Authorization": f"Bearer {keys[user]}"}
                )
                return answer.status_code

            await work(app, ask)

    asyncio.run(main())


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/v1/uploads/1", shares.AT_ONCE),
        ("/v1/stats", shares.QUERIES_AT_ONCE),
        ("/v1/tasks", 2),
    ],
)
def test_a_user_has_a_share_and_others_are_answered(
    path: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is beyond it waits for its own, and is refused then; another user's
    request is inside at once.
    """
    monkeypatch.setattr(shares, "WAIT_S", 0.2)

    async def work(app: Slow, ask: Callable[[str, str], Awaitable[int]]) -> None:
        crowd = [asyncio.ensure_future(ask("ann", path)) for _ in range(most + 3)]
        await until(
            lambda: len(app.inside) == most and sum(one.done() for one in crowd) == 3
        )
        assert sorted(one.result() for one in crowd if one.done()) == [503] * 3
        other = asyncio.ensure_future(ask("bob", path))
        await until(lambda: len(set(app.inside)) == 2)
        app.release.set()
        assert await other == 200
        assert sorted([await one for one in crowd]) == [200] * most + [503] * 3

    run(work)


def test_who_waits_for_its_own_share_is_answered_when_its_turn_comes() -> None:
    async def work(app: Slow, ask: Callable[[str, str], Awaitable[int]]) -> None:
        app.release.set()
        answers = await asyncio.gather(*(ask("ann", "/v1/stats") for _ in range(20)))
        assert answers == [200] * 20
        assert app.inside == []

    run(work)


def test_streams_have_limits_of_their_own() -> None:
    async def work(app: Slow, ask: Callable[[str, str], Awaitable[int]]) -> None:
        streams = [
            asyncio.ensure_future(ask("ann", "/v1/tasks/1/events"))
            for _ in range(shares.AT_ONCE + 3)
        ]
        await until(lambda: len(app.inside) == shares.AT_ONCE + 3)
        app.release.set()
        assert set(await asyncio.gather(*streams)) == {200}

    run(work)
