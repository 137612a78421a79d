"""The process `http`: the HTTP server, and beside it the queue consumer on a thread of
its own.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

import uvicorn
from fastapi import FastAPI

from handlers import metrics
from handlers.context import Context
from handlers.http.app import build
from handlers.http.circuit import CircuitBreakingPublisher
from handlers.http.readiness import Check, checks_of, run_checks
from handlers.http.slow_clients import SlowClientProtocol
from handlers.on_upload import EVENTS
from handlers.processes.upload_consumer import QueueConsumer
from shared import upload_forms, workflows
from shared.errors import DarkroomError
from shared.runtime import operations
from shared.runtime.heartbeat import Heartbeat, Pulse
from shared.runtime.metrics import REGISTRY
from shared.runtime.settings import Settings
from shared.runtime.telemetry import logger
from shared.uploads import keys

REQUESTS_AT_ONCE = 512
MAX_SOCKET_BYTES = 64 << 10
"""Of a message over a WebSocket: clients have nothing to say there."""
SHUTDOWN_S = 20
"""Longest time in which requests are finished after SIGTERM."""
CLOCK_S = 30.0
"""Time between two requests that keep the store's clock known."""


def main(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, and finish what is under way.

    Raises what ended the queue consumer, if anything did.
    """
    ctx = _context(settings)
    metrics.begin_at_zero(metrics.UPLOADS, EVENTS)
    stop = threading.Event()
    consumer = QueueConsumer(ctx, stop)
    server = _server(ctx, consumer)
    # uvicorn handles the signals while it runs and raises them once more at its end,
    # when nothing is left to do.
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: None)
    _start_clock(ctx, stop)
    consumer.start(on_end=server.leave)
    try:
        server.run()
    finally:
        stop.set()
        consumer.join()
    logger().info("process.stopped")


def config_of(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """How the app is served. Slow clients are cut off, and protocols that it has no
    route for (WebSockets, without ComfyUI's addresses) are not spoken.
    """
    has_sockets = settings.comfyui != "off"
    return uvicorn.Config(
        app,
        settings.api_host,
        settings.api_port,
        http=SlowClientProtocol,
        ws="websockets-sansio" if has_sockets else "none",
        ws_max_size=MAX_SOCKET_BYTES,
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=REQUESTS_AT_ONCE,
        timeout_graceful_shutdown=SHUTDOWN_S,
        # uvicorn would believe every process on this machine; handlers.http.auth knows
        # which proxies to believe.
        proxy_headers=False,
    )


class Server(uvicorn.Server):
    """A server with a heartbeat: it beats once its socket listens, and as long as its
    event loop turns.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        settings: Settings,
        consumer: QueueConsumer,
        checks: Mapping[str, Check],
    ) -> None:
        super().__init__(config)
        self._settings = settings
        self._checks = checks
        self._pulse = Pulse()
        loops = {"consumer": consumer.stuck_s, "event loop": self._pulse.quiet_s}
        self._heartbeat = Heartbeat(settings, loops)

    def leave(self) -> None:
        """End the server as soon as the requests under way are answered."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        operations.start(
            self._settings, self._heartbeat, REGISTRY, self._service_states
        )
        logger().info("process.started")

    async def on_tick(self, counter: int) -> bool:
        self._pulse.beat()
        return await super().on_tick(counter)

    def _service_states(self) -> dict[str, bool]:
        return asyncio.run(run_checks(self._checks))


def _context(settings: Settings) -> Context:
    ctx = Context.of(settings)
    if not settings.s3_ticket_access_key.get_secret_value():
        logger().warning("tickets.own_key", detail=upload_forms.OWN_KEY)
    return replace(ctx, publisher=CircuitBreakingPublisher(ctx.publisher))


def _server(ctx: Context, consumer: QueueConsumer) -> Server:
    checks = checks_of(ctx)
    app = build(ctx, consumer, checks)
    config = config_of(app, ctx.settings)
    return Server(config, ctx.settings, consumer, checks)


def _start_clock(ctx: Context, stop: threading.Event) -> None:
    """Keep the store's time known on a thread of its own.

    Every response of the store carries its time; a process that does nothing but sign
    tickets needs no response, and would not notice that its own clock is wrong.
    """

    def run() -> None:
        while True:
            with suppress(DarkroomError):
                ctx.store.head(ctx.settings.bucket_results, keys.SWEEP)
                # Beside it, so that `/readyz` names a workflow file that is broken.
                workflows.offered()
            if stop.wait(CLOCK_S):
                return

    threading.Thread(target=run, name="clock", daemon=True).start()
