"""The proxy that stands for a bad network does what its tests say it does."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.support.proxy import Proxy
from tests.support.waiting import eventually


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that says everything back."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(link: socket.socket) -> None:
        with link, suppress(OSError):
            while data := link.recv(65536):
                link.sendall(data)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(
                    target=serve, args=(listener.accept()[0],), daemon=True
                ).start()

    threading.Thread(target=accept, daemon=True).start()
    yield int(listener.getsockname()[1])
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def said_back(link: socket.socket, data: bytes) -> bytes:
    link.settimeout(60)
    link.sendall(data)
    got = b""
    while len(got) < len(data) and (more := link.recv(65536)):
        got += more
    return got


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=60)


def test_everything_passes(echo: int) -> None:
    """Without a fault, bytes arrive as they are."""
    data = bytes(range(256)) * 4096
    with Proxy(echo) as proxy, connect(proxy) as link:
        link.settimeout(60)
        sending = threading.Thread(target=link.sendall, args=(data,))
        sending.start()
        got = b""
        while len(got) < len(data):
            got += link.recv(65536)
        sending.join()
        assert got == data


def test_swallowed_connections_stay_silent_for_ever(echo: int) -> None:
    """Neither end hears anything, not even after the healing; a new connection works
    then, and only then.
    """
    with Proxy(echo) as proxy, connect(proxy) as old:
        assert said_back(old, b"hello") == b"hello"
        proxy.swallow()
        with connect(proxy) as new:
            for link in (old, new):
                link.sendall(b"anybody?")
                link.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    link.recv(1)
            proxy.heal()
            with connect(proxy) as newest:
                assert said_back(newest, b"hello") == b"hello"
            for link in (old, new):
                link.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    link.recv(1)


def test_latency_and_a_narrow_line(echo: int) -> None:
    """An answer takes two delays at least; bytes come no faster than the rate."""
    with Proxy(echo) as proxy, connect(proxy) as link:
        proxy.delay(0.2)

        def late() -> bool:
            began = time.monotonic()
            assert said_back(link, b"x") == b"x"
            return time.monotonic() - began >= 0.4

        # the first one may find a proxy that is not at rest yet
        eventually(late, "an answer after two delays")
    with Proxy(echo) as proxy:
        proxy.rate(40_000)
        with connect(proxy) as link:
            began = time.monotonic()
            assert said_back(link, b"x" * 20_000) == b"x" * 20_000
            assert time.monotonic() - began >= 0.45


def test_a_fraction_of_requests_is_reset(echo: int) -> None:
    """The same seed breaks the same requests; none is broken without being counted."""

    def broken(seed: int) -> list[bool]:
        found = []
        with Proxy(echo) as proxy:
            proxy.reset(0.3, seed)
            for _ in range(30):
                with connect(proxy) as link:
                    try:
                        found.append(said_back(link, b"x") != b"x")
                    except ConnectionError:
                        found.append(True)
            assert proxy.broken == sum(found)
        return found

    first = broken(1)
    assert 3 <= sum(first) <= 20
    assert broken(1) == first
    assert broken(2) != first


def test_an_absent_server_is_a_reset(echo: int) -> None:
    """Nobody behind the proxy: the client's connection ends at once."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with (
            Proxy(taken.getsockname()[1]) as proxy,
            suppress(ConnectionError),
            connect(proxy) as link,
        ):
            assert link.recv(1) == b""
