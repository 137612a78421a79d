"""The HTTP app on a port of its own, as the process serves it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from handlers.processes import http_server
from shared.runtime.settings import Settings
from tests.support.waiting import eventually


@contextmanager
def serving(built: FastAPI, settings: Settings) -> Iterator[int]:
    """The port that `built` listens on until the end; `api_port` is to be 0."""
    server = uvicorn.Server(http_server.config_of(built, settings))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        eventually(lambda: server.started, "a server")
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
