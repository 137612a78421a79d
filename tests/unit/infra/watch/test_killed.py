"""`darkroom watch` as a process of its own, which is killed again and again: a stand-in
for the API and its store counts what comes.
"""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Condition, Thread

import pytest

from tests.support.waiting import eventually

PHOTOS = 6
RESULT = b"the restored photo"


class Api(ThreadingHTTPServer):
    """A ticket is the `Idempotency-Key`; every photo is restored as soon as it came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.tickets: set[str] = set()
        self.calls = 0
        self.allowed = math.inf
        self._changed = Condition()

    def allow(self, calls: float) -> None:
        """Answer so many more calls: who makes another one waits."""
        with self._changed:
            self.allowed = self.calls + calls
            self._changed.notify_all()

    def admit(self) -> None:
        with self._changed:
            self.calls += 1
            number = self.calls
            self._changed.wait_for(lambda: number <= self.allowed, timeout=120)

    def keeps_waiting(self) -> bool:
        return self.calls > self.allowed

    def handle_error(self, *_: object) -> None:
        """Who was killed takes no answer."""


class Handler(BaseHTTPRequestHandler):
    server: Api

    def do_POST(self) -> None:
        self.server.admit()
        self.rfile.read(int(self.headers["content-length"]))
        key = self.headers.get("idempotency-key")
        if key is not None:
            self.server.tickets.add(key)
        form = {"url": f"{self.server.url}/store", "fields": {"key": "k"}}
        self._answer(json.dumps({"ticket": key, "post": form}).encode())

    def do_GET(self) -> None:
        self.server.admit()
        if self.path.endswith("/result"):
            self._answer(b"", 307, f"{self.server.url}/object")
        elif self.path.endswith("/record"):
            sha256 = hashlib.sha256(RESULT).hexdigest()
            self._answer(json.dumps({"result_sha256": sha256}).encode())
        elif "/v1/uploads/" in self.path:
            state = {"status": "success", "task_id": "t"}
            self._answer(json.dumps(state).encode())
        else:
            self._answer(RESULT)

    def _answer(self, body: bytes, status: int = 200, location: str = "") -> None:
        self.send_response(status)
        if location:
            self.send_header("location", location)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def begin(api: Api, folder: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "infra.cli", "watch", str(folder)]
    given = ["--api", api.url, "--key", "k", "--settle-s", "0", "--every-s", "0.1"]
    return subprocess.Popen([*command, *given, *more], stderr=subprocess.DEVNULL)


@pytest.mark.timeout(180)
def test_a_watch_that_is_killed_loses_nothing_and_doubles_nothing(
    api: Api, tmp_path: Path
) -> None:
    for number in range(PHOTOS):
        (tmp_path / f"{number}.jpg").write_bytes(b"photo %d" % number)
    for calls in (1, 5, 9):
        api.allow(calls)
        process = begin(api, tmp_path)
        try:
            eventually(api.keeps_waiting, f"{calls} calls and another one")
        finally:
            process.kill()
            process.wait()
    api.allow(math.inf)
    process = begin(api, tmp_path, "--once")
    assert process.wait(timeout=90) == 0
    results = sorted(path.name for path in tmp_path.glob("*.png"))
    assert results == [f"{number}-restored.png" for number in range(PHOTOS)]
    assert {path.read_bytes() for path in tmp_path.glob("*.png")} == {RESULT}
    assert len(api.tickets) == PHOTOS
