"""`/console/`: the page, its files, and signing in and out.

The page is the same for everybody and holds nothing of anybody: what it shows comes from
`/v1`, by the cookie of a session.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Annotated
from urllib.parse import urlsplit

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, FastAPI, Query, Request
from starlette.responses import RedirectResponse, Response

from handlers.context import Context
from handlers.http.auth.cookies import Cookies
from handlers.http.auth.guard import Guard
from handlers.http.console.files import StaticFile, StaticFiles
from handlers.http.console.sessions import LASTS, Sessions
from handlers.http.problems import Problem
from handlers.http.request_body import read_body
from shared.runtime.settings import StoreSettings
from shared.s3.presign import Presigner

PREFIX = "/console"
FOR_EVER = "public, max-age=31536000, immutable"
EVERY_TIME = "no-cache"
MAX_TOKEN_BYTES = 200

router = APIRouter(prefix=PREFIX, include_in_schema=False)


@dataclass(frozen=True)
class Console:
    files: StaticFiles
    policy: Callable[[], str]
    """The page's policy. It may ask for credentials of the store when it is first called."""
    sessions: Sessions
    cookies: Cookies
    guard: Guard


def install(app: FastAPI, ctx: Context, guard: Guard) -> None:
    """Add the console to `app`."""
    app.state.console = Console(
        files=StaticFiles(),
        policy=cache(partial(policy, ctx.settings)),
        sessions=Sessions(ctx),
        cookies=Cookies(ctx.settings, guard.addresses),
        guard=guard,
    )
    app.include_router(router)


def policy(settings: StoreSettings) -> str:
    """The page's Content-Security-Policy: its own files, its API, and the store."""
    presigner = Presigner(settings)
    buckets = (settings.bucket_uploads, settings.bucket_results)
    store = " ".join(sorted({_origin(presigner.address(name)) for name in buckets}))
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            f"img-src 'self' blob: {store}",
            f"connect-src 'self' {store}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types lit-html",
        ]
    )


async def _console(request: Request) -> Console:
    found: Console = request.app.state.console
    return found


CurrentConsole = Annotated[Console, Depends(_console)]


@router.get("")
async def without_slash() -> Response:
    """The page's own addresses are relative to the folder."""
    return RedirectResponse(f"{PREFIX}/", 308)


@router.get("/")
async def page(request: Request, console: CurrentConsole) -> Response:
    return await _page(request, console, "index.html")


@router.get("/sign-in")
async def sign_in_page(request: Request, console: CurrentConsole) -> Response:
    """The page that uses up the link which a person opened. To ask for it uses nothing
    up, so that a program which previews links does no harm.
    """
    return await _page(request, console, "sign-in.html")


@router.get("/static/{version}/{name:path}")
async def static(
    version: str,
    name: str,
    request: Request,
    console: CurrentConsole,
) -> Response:
    found = console.files.get(name)
    if found is None or version != console.files.version:
        raise Problem(404, "the page has no such file; load it again", "not_found")
    return _answer(request, found, {"Cache-Control": FOR_EVER})


@router.post("/session")
async def begin(request: Request, console: CurrentConsole) -> Response:
    """Sign in: the body is what stood behind `#` in the link."""
    console.cookies.check_own(request.scope)
    guard = console.guard
    if not await guard.may_guess(request.scope):
        detail = "too many wrong links from here; wait a minute"
        raise Problem(429, detail, "too_many", {"Retry-After": "60"})
    body = await read_body(request.scope, request.receive, MAX_TOKEN_BYTES)
    token = body.decode("ascii", "replace")
    try:
        credential = await run_sync(console.sessions.begin, token)
    except Problem:
        await guard.record_failure(request.scope, "link")
        raise
    return _with_cookie(request, console, credential, int(LASTS.total_seconds()))


@router.delete("/session")
async def end(
    request: Request,
    console: CurrentConsole,
    everywhere: Annotated[bool, Query()] = False,
) -> Response:
    """Sign out, here or everywhere. Another process may accept the cookie for
    `api_key_cache_s` more.
    """
    credential = console.cookies.credential(request.scope)
    if credential is not None:
        ended = await run_sync(console.sessions.end, credential, everywhere)
        for key_id in ended:
            console.guard.keys.forget(key_id)
    return _with_cookie(request, console, "", 0)


async def _page(request: Request, console: Console, name: str) -> Response:
    found = console.files.get(name)
    assert found is not None
    headers = {
        "Cache-Control": EVERY_TIME,
        "Content-Security-Policy": await run_sync(console.policy),
        "Cross-Origin-Opener-Policy": "same-origin",
    }
    return _answer(request, found, headers)


def _answer(
    request: Request,
    file: StaticFile,
    headers: dict[str, str],
) -> Response:
    body = file.body
    if file.gzipped is not None:
        headers["Vary"] = "Accept-Encoding"
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            body = file.gzipped
    return Response(body, 200, headers, file.media_type)


def _with_cookie(
    request: Request,
    console: Console,
    credential: str,
    lasts_s: int,
) -> Response:
    cookie = console.cookies.set_header(request.scope, credential, lasts_s)
    headers = {"Set-Cookie": cookie, "Cache-Control": "no-store"}
    return Response(status_code=204, headers=headers)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
