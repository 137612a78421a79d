"""Stands between the store and the handlers' door: loses, repeats, delays and shuffles
notifications.
"""

from __future__ import annotations

import random
import threading
from collections import Counter, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

import httpx

Mood = Literal["drop", "repeat", "delay"]


class Relay:
    """Passes notifications on, except the next few that were given a `Mood`. `done`
    counts by mood.
    """

    def __init__(self, seed: int) -> None:
        self.door_port = 0
        self.done: Counter[str] = Counter()
        self._rng = random.Random(seed)
        self._moods: deque[Mood] = deque()
        self._client = httpx.Client(timeout=15)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def treat(self, mood: Mood, count: int) -> None:
        """Treat the next `count` notifications so."""
        self._moods.extend([mood] * count)

    def calm(self) -> None:
        self._moods.clear()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._client.close()

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        """The status that the store is told."""
        mood = self._moods.popleft() if self._moods else None
        self.done[mood or "passed"] += 1
        if mood == "drop":
            return 204
        # told as taken; comes seconds later, after others that were sent later
        if mood == "delay":
            threading.Timer(
                self._rng.uniform(0.5, 5), self._pass, (path, headers, body)
            ).start()
            return 204
        for _ in range(9 if mood == "repeat" else 0):
            threading.Thread(target=self._pass, args=(path, headers, body)).start()
        return self._pass(path, headers, body)

    def _pass(self, path: str, headers: dict[str, str], body: bytes) -> int:
        url = f"http://127.0.0.1:{self.door_port}{path}"
        try:
            return self._client.post(url, content=body, headers=headers).status_code
        except httpx.HTTPError:
            return 502

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        relay = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                kept = {
                    n: v
                    for n, v in self.headers.items()
                    if n.lower() in ("authorization", "content-type")
                }
                self.send_response(relay._take(self.path, kept, body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler
