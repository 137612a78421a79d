"""The HTTP door: storage notifications, health, and the API beside them."""

from __future__ import annotations

import asyncio
import signal
import threading
from base64 import b64decode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from hmac import compare_digest
from typing import Any, Protocol

import uvicorn
from fastapi import APIRouter, FastAPI, Request
from starlette.responses import JSONResponse, Response

from handlers import metrics
from handlers.context import Context
from handlers.http import api, auth, problems
from handlers.http.admission import SparingPublisher, Turns
from handlers.http.problems import Problem
from handlers.http.readiness import Check, answers, checks_of
from handlers.http.slow_clients import PatientProtocol
from handlers.intake.notifications import MAX_BYTES
from handlers.processes import upload_consumer
from handlers.take_in import take_in
from shared import __version__
from shared.errors import DarkroomError
from shared.runtime import operations
from shared.runtime.heartbeat import Heartbeat, Pulse
from shared.runtime.settings import Settings
from shared.runtime.telemetry import logger
from shared.s3 import upload_forms
from shared.uploads import keys

BODY_S = 30
"""Longest time in which a notification's bytes must arrive."""
REQUESTS_AT_ONCE = 512
SILENT_S = 60.0
"""A consumer that has not heard the broker for longer only looks alive, unless the
broker itself is down.
"""
SHUTDOWN_S = 20
HEAR_S = 30.0
"""Between two looks at the store's clock."""


class Door(Protocol):
    """The queue door beside this one: does it run, and for how many seconds has it not
    heard the broker?
    """

    def is_running(self) -> bool: ...

    def silent_s(self) -> float: ...


def build(
    ctx: Context, door: Door | None = None, asked: Mapping[str, Check] | None = None
) -> FastAPI:
    """The app. `asked`: which services `/readyz` asks; None means the real ones."""
    # A redirect to the address without its last slash would go where `Host` says, by
    # http, and take the key there.
    app = FastAPI(
        title="Darkroom",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    problems.install(app)
    failed = auth.install(app, ctx)
    app.include_router(api.build(ctx))
    app.include_router(_events(ctx, failed), include_in_schema=False)
    app.include_router(
        _health(checks_of(ctx) if asked is None else asked, door),
        include_in_schema=False,
    )
    return app


def _events(ctx: Context, failed: auth.Failed) -> APIRouter:
    router = APIRouter()
    turns = Turns()

    @router.api_route("/events/storage", methods=["GET", "HEAD"])
    async def probe() -> Response:
        """MinIO and RustFS ask whether anybody listens before they send anything."""
        return Response()

    @router.api_route("/events/storage", methods=["POST", "PUT"])
    async def receive(request: Request) -> Response:
        _authorise(request, ctx.settings, failed)
        body = await _body(request)
        headers = dict(request.headers)
        decisions = await turns.take(lambda: take_in(body, headers, ctx, "http"))
        return JSONResponse({"decisions": [asdict(decision) for decision in decisions]})

    return router


def _authorise(request: Request, settings: Settings, failed: auth.Failed) -> None:
    expected = settings.webhook_token.get_secret_value()
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    # all that a server can send which has nothing but an address to set: Ceph
    if scheme.lower() == "basic":
        given = _password(given)
    # Compared as bytes and in constant time; an empty secret opens nothing.
    same = compare_digest(given.strip().encode(), expected.encode())
    if not expected or scheme.lower() not in ("bearer", "basic") or not same:
        if given.strip():
            failed(request.scope, "the token of storage notifications is wrong")
        detail = "storage notifications need `Authorization: Bearer …` with the value of DARKROOM_WEBHOOK_TOKEN"
        raise Problem(401, detail, "unauthorized", {"WWW-Authenticate": "Bearer"})


def _password(given: str) -> str:
    """Of `name:password` in Base64; nothing of what is something else."""
    try:
        return b64decode(given, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


async def _body(request: Request) -> bytes:
    """The body, given up as soon as it is too large or too slow."""
    received = bytearray()
    told = request.headers.get("content-length", "")
    try:
        async with asyncio.timeout(BODY_S):
            if not told.isdigit() or int(told) <= MAX_BYTES:
                async for piece in request.stream():
                    received += piece
                    if len(received) > MAX_BYTES:
                        break
                else:
                    return bytes(received)
    except TimeoutError:
        raise Problem(
            408, f"the notification did not arrive within {BODY_S} s", "slow"
        ) from None
    raise Problem(
        413,
        f"a notification may have {MAX_BYTES:,} bytes",
        "too_large",
        {"Connection": "close"},
    )


def _health(checks: Mapping[str, Check], door: Door | None) -> APIRouter:
    """What a balancer asks. Strangers ask, too: which service is away and every figure
    are told on `metrics_port`.
    """
    router = APIRouter()

    @router.api_route("/healthz", methods=["GET", "HEAD"])
    async def healthz() -> Response:
        """200 while this process works; 503 when it should be restarted."""
        alive = door is None or door.is_running()
        if alive and door and door.silent_s() > SILENT_S:
            # silence of a broker that others can hear
            alive = not await checks["broker"].passes()
        return JSONResponse(
            {"status": "ok" if alive else "stuck"}, 200 if alive else 503
        )

    @router.api_route("/readyz", methods=["GET", "HEAD"])
    async def readyz() -> Response:
        """200 when what an upload needs can be reached."""
        ready = all((await answers(checks)).values())
        return JSONResponse(
            {"status": "ok" if ready else "unavailable"}, 200 if ready else 503
        )

    return router


def _keep_time(ctx: Context, stop: threading.Event) -> None:
    """The store's answers tell its time; who is asked for nothing but tickets, which
    need none, would not hear it.
    """
    while True:
        with suppress(DarkroomError):
            ctx.store.head(ctx.settings.bucket_results, keys.SWEEP)
        if stop.wait(HEAR_S):
            return


def config_of(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """How the app is served: who is slow is cut off, and what it has no route for
    (WebSockets) is not spoken.
    """
    return uvicorn.Config(
        app,
        settings.api_host,
        settings.api_port,
        http=PatientProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=REQUESTS_AT_ONCE,
        timeout_graceful_shutdown=SHUTDOWN_S,
        # uvicorn would believe everybody on this machine; handlers.http.auth knows whom to
        # believe
        proxy_headers=False,
    )


class _Server(uvicorn.Server):
    """Beats once its socket listens, and as long as its event loop turns."""

    def __init__(
        self,
        config: uvicorn.Config,
        settings: Settings,
        door: upload_consumer.QueueConsumer,
        checks: Mapping[str, Check],
    ) -> None:
        super().__init__(config)
        self._pulse = Pulse()
        self._settings, self._checks = settings, checks
        self._heartbeat = Heartbeat(
            settings, {"consumer": door.stuck_s, "event loop": self._pulse.quiet_s}
        )

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        operations.start(
            self._settings,
            self._heartbeat,
            metrics.REGISTRY,
            lambda: asyncio.run(answers(self._checks)),
        )
        logger().info("process.started")

    async def on_tick(self, counter: int) -> bool:
        self._pulse.beat()
        return await super().on_tick(counter)


def main(settings: Settings) -> None:
    """Entry point of the process: the HTTP door, and beside it the queue door on a
    thread of its own.

    SIGTERM and SIGINT let it finish what it is at. Raises what ended the queue door, if
    anything did.
    """
    ctx = Context.of(settings)
    if not settings.s3_ticket_access_key.get_secret_value():
        logger().warning("tickets.own_key", detail=upload_forms.OWN_KEY)
    ctx = replace(ctx, publisher=SparingPublisher(ctx.publisher))
    stop = threading.Event()
    door = upload_consumer.QueueConsumer(ctx, stop)
    checks = checks_of(ctx)
    server = _Server(
        config_of(build(ctx, door, checks), settings), settings, door, checks
    )
    # uvicorn handles the signals while it runs and raises them once more when it is
    # done: then it is enough.
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: None)
    threading.Thread(
        target=_keep_time, args=(ctx, stop), name="time", daemon=True
    ).start()
    door.start(on_end=lambda: setattr(server, "should_exit", True))
    try:
        server.run()
    finally:
        stop.set()
        door.join()
    logger().info("process.stopped")
