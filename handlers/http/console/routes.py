"""`/console/`: the page, its files, and signing in and out.

The page is the same for everybody and holds nothing of anybody: what it shows comes from
`/v1`, by the cookie of a session.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, FastAPI, Query, Request
from starlette.responses import RedirectResponse, Response

from handlers.context import Context
from handlers.http.auth.cookies import Cookies
from handlers.http.auth.guard import Guard
from handlers.http.console import oidc as oidc_flow
from handlers.http.console.files import StaticFile, StaticFiles
from handlers.http.console.oidc import Attempt, Oidc, Refused
from handlers.http.console.sessions import LASTS, Sessions
from handlers.http.problems import Problem
from handlers.http.request_body import read_body
from shared.access import USUAL
from shared.runtime.settings import StoreSettings
from shared.runtime.telemetry import logger
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
    oidc: Oidc


def install(app: FastAPI, ctx: Context, guard: Guard) -> None:
    """Add the console to `app`."""
    oidc = Oidc(ctx.settings, ctx.clock)
    app.state.console = Console(
        files=StaticFiles(oidc=oidc.enabled),
        policy=cache(partial(policy, ctx.settings)),
        sessions=Sessions(ctx),
        cookies=Cookies(ctx.settings, guard.addresses),
        guard=guard,
        oidc=oidc,
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
            "trusted-types lit-html thumbnails",
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


@router.get("/oidc")
async def begin_oidc(request: Request, console: CurrentConsole) -> Response:
    """Lead the browser to the provider, and remember the try in it."""
    oidc = _enabled(console)
    attempt = Attempt.new()
    try:
        address = await run_sync(oidc.address, attempt)
    except Refused as refused:
        return _not_signed_in(request, console, refused)
    cookie = console.cookies.set_attempt(
        request.scope, attempt.to_cookie(), oidc_flow.LASTS_S
    )
    return _led(address, [cookie])


@router.get("/oidc/callback")
async def end_oidc(request: Request, console: CurrentConsole) -> Response:
    """Where the provider leads the browser back to. A wrong answer counts as a guess."""
    oidc, guard = _enabled(console), console.guard
    if not await guard.may_guess(request.scope):
        detail = "too many wrong sign-ins from here; wait a minute"
        raise Problem(429, detail, "too_many", {"Retry-After": "60"})
    try:
        attempt = Attempt.from_cookie(console.cookies.attempt(request.scope))
        answer = parse_qs(request.url.query, keep_blank_values=True)
        code = await run_sync(oidc.code, attempt, answer)
        token = await run_sync(oidc.id_token, attempt, code)
        who = await oidc.signed_in(attempt, token)
    except Refused as refused:
        await guard.record_failure(request.scope, "oidc")
        return _not_signed_in(request, console, refused)
    credential = await run_sync(
        console.sessions.open, who.user_hash, USUAL, who.operator
    )
    lasts_s = int(LASTS.total_seconds())
    cookie = console.cookies.set_header(request.scope, credential, lasts_s)
    used_up = console.cookies.set_attempt(request.scope, "", 0)
    hint = console.cookies.set_id_token(request.scope, who.hint, lasts_s)
    return _led(f"{PREFIX}/", [cookie, used_up, hint])


@router.get("/oidc/sign-out")
async def leave_oidc(request: Request, console: CurrentConsole) -> Response:
    """Lead a browser that has signed out here to the provider, to sign out there, too:
    where it signed in by it, and the provider has a place for that.
    """
    oidc = _enabled(console)
    hint = console.cookies.id_token(request.scope)
    address = None
    if hint:
        # While the provider is away, nobody can sign out there.
        with suppress(Refused):
            address = await run_sync(oidc.farewell, hint)
    forgotten = console.cookies.set_id_token(request.scope, "", 0)
    return _led(address or oidc_flow.SIGNED_OUT, [forgotten])


def _enabled(console: Console) -> Oidc:
    if not console.oidc.enabled:
        detail = "people sign in here by links alone; `darkroom console` prints one"
        raise Problem(404, detail, "not_found")
    return console.oidc


def _not_signed_in(request: Request, console: Console, refused: Refused) -> Response:
    logger().warning("console.sign_in_refused", detail=str(refused))
    used_up = console.cookies.set_attempt(request.scope, "", 0)
    return _led(f"{PREFIX}/sign-in?refused", [used_up])


def _led(address: str, cookies: list[str]) -> Response:
    """Elsewhere, with these cookies, and without a word of where the browser was."""
    answer = Response(status_code=303)
    answer.headers["Location"] = address
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["Referrer-Policy"] = "no-referrer"
    for cookie in cookies:
        answer.headers.append("Set-Cookie", cookie)
    return answer


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
