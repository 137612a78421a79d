"""Receivers of callbacks on loopback addresses, each with a habit of its own."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """An HTTP server; `answer(handler, number)` writes the response to the call of that
    number (1-based).
    """

    def __init__(
        self,
        answer: Callable[[BaseHTTPRequestHandler, int], None],
        host: str = "127.0.0.1",
    ) -> None:
        self.received: list[Received] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                announced = int(self.headers["content-length"])
                body = self.rfile.read(announced)
                if len(body) < announced:
                    return  # its caller was killed in the middle of it
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.received.append(Received(self.path, headers, body))
                with suppress(OSError):  # the caller may have had enough
                    answer(self, len(outer.received))

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer((host, 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self.url = f"http://{host}:{self.port}/hook?a=%2F"
        threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        ).start()

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Before the first call."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def status(code: int, **headers: str) -> Callable[[BaseHTTPRequestHandler, int], None]:
    """Always this."""
    return statuses(code, **headers)


def statuses(
    *codes: int, **headers: str
) -> Callable[[BaseHTTPRequestHandler, int], None]:
    """One after the other; the last for ever."""

    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        handler.send_response(codes[min(number, len(codes)) - 1])
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def huge(handler: BaseHTTPRequestHandler, _number: int) -> None:
    """A good answer with a body without end."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"x" * 65536)


def huge_head(handler: BaseHTTPRequestHandler, _number: int) -> None:
    """A good answer whose headers do not end."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        handler.wfile.write(b"X-Y: " + b"z" * 1000 + b"\r\n")


def trickling(handler: BaseHTTPRequestHandler, _number: int) -> None:
    """A byte now and then: every single read is in time, the answer never is."""
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"z" * 10_000:
        handler.wfile.write(bytes([byte]))
        handler.wfile.flush()
        time.sleep(0.02)


class Counter:
    """Listens on a loopback port and counts who comes; nobody should."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.connects = 0
        self._socket = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.connects += 1
                connection.close()

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
