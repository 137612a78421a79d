"""Slow clients of the HTTP server, on real sockets: they are cut off, and all others
are served meanwhile.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.responses import Response

from handlers.http import app, slow_clients
from handlers.http.slow_clients import SlowClientProtocol
from handlers.processes import http_server
from tests.support.serving import serving
from tests.support.upload_world import World
from tests.support.waiting import eventually

LARGE = 64 << 20
"""More than the kernel takes off us at once."""
MOST = 8
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: api\r\n\r\n"


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The app as its process serves it, with a hasty clock and few connections at
    once, and one route more.
    """
    monkeypatch.setattr(slow_clients, "STALL_S", 1.0)
    monkeypatch.setattr(http_server, "REQUESTS_AT_ONCE", MOST)
    world = World(settings={"api_port": 0, "webhook_token": "t"})
    built = app.build(world.ctx, checks={})
    built.add_api_route("/large", lambda: Response(bytes(LARGE)))
    with serving(built, world.ctx.settings) as port:
        yield port


def is_healthy(port: int) -> bool:
    with (
        suppress(OSError),
        socket.create_connection(("127.0.0.1", port), 5) as connection,
    ):
        connection.sendall(HEALTH)
        return connection.recv(1000).startswith(b"HTTP/1.1 200")
    return False


def is_cut(connection: socket.socket, says: bytes = b"") -> bool:
    """Whether the other side has gone; found out by sending something, or by reading."""
    connection.settimeout(0.05)
    try:
        if says:
            connection.sendall(says)
        return not connection.recv(1 << 16)
    except TimeoutError:
        return False
    except OSError:
        return True


@pytest.mark.parametrize("said", [b"", HEALTH[:-4]], ids=["nothing", "half a head"])
def test_those_who_never_ask_do_not_fill_the_door(port: int, said: bytes) -> None:
    with ExitStack() as held:
        silent = [
            held.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(MOST)
        ]
        for connection in silent:
            connection.sendall(said)
        eventually(lambda: is_healthy(port), "an answer to another client")
        for connection in silent:
            eventually(
                lambda connection=connection: is_cut(connection),
                "the end of a silent connection",
            )


def test_a_head_that_trickles_is_cut_off(port: int) -> None:
    """After a request that was well answered, too."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(HEALTH)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        connection.sendall(HEALTH[:-2])
        eventually(lambda: is_cut(connection, b"A: b\r\n"), "the end of it")


def test_a_body_that_is_not_read_any_more_is_cut_off(port: int) -> None:
    """It was refused by its head; each further byte had been a sign of life."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(
            b"POST /events/storage HTTP/1.1\r\nHost: api\r\nContent-Length: 1000000000\r\n\r\n"
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 401")
        eventually(lambda: is_cut(connection, b"x"), "the end of it")


def test_who_takes_no_answer_is_cut_off(port: int) -> None:
    with ExitStack() as held:
        for _ in range(MOST):
            connection = held.enter_context(
                socket.create_connection(("127.0.0.1", port))
            )
            connection.sendall(b"GET /large HTTP/1.1\r\nHost: api\r\n\r\n")
            assert connection.recv(1)
        eventually(lambda: is_healthy(port), "an answer to another client")


def test_nothing_is_smuggled_in_behind_a_body_of_two_lengths(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = b"GET /healthz HTTP/1.1\r\nHost: api\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head + b"0\r\n\r\n" + HEALTH)
        answered = b"".join(iter(lambda: connection.recv(1000), b""))
    assert answered.count(b"HTTP/1.1 ") == 1


class Transport:
    """A client that has `left` bytes of an answer still to take."""

    def __init__(self) -> None:
        self.left, self.aborted = 1000, False

    def get_write_buffer_size(self) -> int:
        return self.left

    def get_extra_info(self, _name: str) -> None:
        return None

    def abort(self) -> None:
        self.aborted = True


@contextmanager
def connected(transport: Transport) -> Iterator[SlowClientProtocol]:
    """A connection that is looked at by hand."""
    config, loop = (
        http_server.config_of(FastAPI(), World().ctx.settings),
        asyncio.new_event_loop(),
    )
    connection = SlowClientProtocol(config, uvicorn.server.ServerState(), {}, loop)
    connection.connection_made(cast(Any, transport))
    try:
        yield connection
    finally:
        loop.close()


def test_who_takes_an_answer_slowly_gets_all_of_it() -> None:
    """As long as some of it is gone at each look; then the time of a next request
    begins.
    """
    transport = Transport()
    with connected(transport) as connection:
        for left in range(1000, 0, -10):
            transport.left = left
            connection._check()
            assert not transport.aborted
        connection._check()
    assert transport.aborted


def test_who_waits_for_us_may_wait() -> None:
    """Its body is being read, however slowly it comes, or its stream has no event to
    tell; then it takes none.
    """
    transport = Transport()
    with connected(transport) as connection:
        connection.cycle = cast(Any, SimpleNamespace(response_complete=False))
        for _ in range(100):
            connection._check()
        assert not transport.aborted
        connection.pause_writing()
        for _ in range(2):
            assert not transport.aborted
            connection._check()
    assert transport.aborted


def test_no_websocket_gets_past_the_gate() -> None:
    """It is answered as the request that it is besides."""
    world = World(settings={"api_port": 0})
    with (
        serving(app.build(world.ctx, checks={}), world.ctx.settings) as port,
        socket.create_connection(("127.0.0.1", port)) as open_,
    ):
        open_.sendall(
            b"GET /v1/tasks HTTP/1.1\r\nHost: api\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        assert open_.recv(1000).startswith(b"HTTP/1.1 401")
