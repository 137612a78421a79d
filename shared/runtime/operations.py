"""`/healthz`, `/readyz` and `/metrics` of each process, on a port for those who run it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from shared.runtime.heartbeat import Heartbeat
from shared.runtime.settings import ProcessSettings

CLIENT_S = 10
FRESH_S = 10.0
"""A service that was heard from within this time is there."""
State = Callable[[], Mapping[str, bool]]
"""Of each service that the process needs: was it there, when it was last asked?"""


def start(
    settings: ProcessSettings,
    heartbeat: Heartbeat,
    registry: CollectorRegistry,
    state: State,
) -> None:
    """The process is ready: begin its heartbeat, and listen on `metrics_port`, if there
    is one.
    """
    if settings.metrics_port is None:
        heartbeat.start()
        return
    host = settings.metrics_host
    server = (_Server6 if ":" in host else _Server)(
        (host, settings.metrics_port), _handler(heartbeat, registry, state)
    )
    threading.Thread(
        target=server.serve_forever, name="operations", daemon=True
    ).start()
    heartbeat.start(
        f"http://{f'[{host}]' if ':' in host else host}:{server.server_address[1]}"
    )


class _Server(ThreadingHTTPServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


def _handler(
    heartbeat: Heartbeat, registry: CollectorRegistry, state: State
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = CLIENT_S

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._say(200, generate_latest(registry), CONTENT_TYPE_LATEST)
            elif path == "/healthz":
                fault = heartbeat.fault()
                self._json(503 if fault else 200, {"status": fault or "ok"})
            elif path == "/readyz":
                there = state()
                told = {
                    name: "ok" if well else "unavailable"
                    for name, well in there.items()
                }
                self._json(200 if all(there.values()) else 503, told)
            else:
                self._json(404, {"status": "there are /healthz, /readyz and /metrics"})

        do_HEAD = do_GET

        def _json(self, status: int, body: object) -> None:
            self._say(status, json.dumps(body).encode(), "application/json")

        def _say(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
