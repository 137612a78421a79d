"""An HTTP proxy before a real S3 server that spoils single keys, and counts what is
given of each.
"""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

BLOCK = 64 << 10
READS = ("GET", "HEAD")
HOP = ("connection", "transfer-encoding", "keep-alive")


@dataclass(frozen=True)
class Fault:
    """What is answered in place of the object. With `status` 200 it is the object, its
    body cut in the middle; with `hangs` nothing is, for as long as the proxy runs.
    """

    status: int
    code: str = ""
    methods: tuple[str, ...] = READS
    hangs: bool = False


FULL = Fault(507, "InsufficientStorage")


class FaultProxy(ThreadingHTTPServer):
    """Listens on `port`, passes on to `target_port` with the request's own `Host`, so
    that signatures hold.

    `faults`: by `bucket/key`. `asked` counts requests by method and `bucket/key`,
    `given` the bytes of bodies of GETs. A copy is a request for its source, by the
    method `COPY`. Bodies of more than `most_bytes` find no room.
    """

    daemon_threads = True

    def __init__(self, target_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target_port, self.port = target_port, self.server_port
        self.faults: dict[str, Fault] = {}
        self.asked: Counter[tuple[str, str]] = Counter()
        self.given: Counter[str] = Counter()
        self.ends = threading.Event()
        self.most_bytes: int | None = None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves in the middle is no fault of ours."""


@contextmanager
def fault_proxy(target_port: int) -> Iterator[FaultProxy]:
    with FaultProxy(target_port) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield proxy
        finally:
            proxy.ends.set()
            proxy.shutdown()


class _Handler(BaseHTTPRequestHandler):
    server: FaultProxy
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        source = self.headers.get("x-amz-copy-source")
        place = unquote(source or urlsplit(self.path).path).lstrip("/")
        method = "COPY" if source else self.command
        self.server.asked[method, place] += 1
        fault = self.server.faults.get(place)
        if self.server.most_bytes is not None and len(body) > self.server.most_bytes:
            self._refuse(FULL)
        elif fault and method in fault.methods:
            if fault.hangs:
                self.server.ends.wait()
                self.close_connection = True
            elif fault.status == 200:
                self._pass_on(place, body, is_cut=True)
            else:
                self._refuse(fault)
        else:
            self._pass_on(place, body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

    def _refuse(self, fault: Fault) -> None:
        body = (
            f"<?xml version='1.0'?><Error><Code>{fault.code}</Code></Error>".encode()
            if fault.code
            else b""
        )
        self.send_response(fault.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _pass_on(self, place: str, body: bytes, is_cut: bool = False) -> None:
        line = http.client.HTTPConnection(
            "127.0.0.1", self.server.target_port, timeout=60
        )
        try:
            line.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                line.putheader(name, value)
            line.endheaders(body)
            answer = line.getresponse()
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in HOP:
                    self.send_header(name, value)
            size = answer.getheader("Content-Length")
            if size is None:
                self.send_header("Connection", "close")
                self.close_connection = True
            self.end_headers()
            left = int(size or 0) // 2 if is_cut else None
            while self.command != "HEAD" and (
                block := answer.read(BLOCK if left is None else min(BLOCK, left))
            ):
                self.wfile.write(block)
                if self.command == "GET":
                    self.server.given[place] += len(block)
                left = None if left is None else left - len(block)
            if is_cut:
                self.close_connection = True
        except OSError:
            self.close_connection = True
        finally:
            with suppress(OSError):
                line.close()

    def log_message(self, *_: Any) -> None:
        """pytest shows what matters."""
