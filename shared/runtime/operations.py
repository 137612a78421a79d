"""`/healthz`, `/readyz`, `/metrics` and `/about` of each process, on a port for
operators.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from shared.runtime.about import about
from shared.runtime.heartbeat import Heartbeat
from shared.runtime.settings import ProcessSettings
from shared.workflows import own_faults

CLIENT_S = 10
FRESH_S = 10.0
"""A service that answered within this time is available."""
State = Callable[[], Mapping[str, bool]]
"""Returns, for each service that the process needs, whether it was available when it
was last used.
"""


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
    is_ipv6 = ":" in host
    server_class = _Server6 if is_ipv6 else _Server
    handler = _handler(heartbeat, registry, state, about(settings))
    server = server_class((host, settings.metrics_port), handler)
    threading.Thread(
        target=server.serve_forever, name="operations", daemon=True
    ).start()
    name = f"[{host}]" if is_ipv6 else host
    heartbeat.start(f"http://{name}:{server.server_address[1]}")


class _Server(ThreadingHTTPServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


def _handler(
    heartbeat: Heartbeat,
    registry: CollectorRegistry,
    state: State,
    said: Mapping[str, object],
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = CLIENT_S

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._send(200, generate_latest(registry), CONTENT_TYPE_LATEST)
            elif path == "/healthz":
                fault = heartbeat.fault()
                status = 503 if fault else 200
                self._send_json(status, {"status": fault or "ok"})
            elif path == "/readyz":
                services = state()
                status = 200 if all(services.values()) else 503
                self._send_json(status, _words(services) | _faults())
            elif path == "/about":
                self._send_json(200, said)
            else:
                hint = "there are /healthz, /readyz, /metrics and /about"
                self._send_json(404, {"status": hint})

        do_HEAD = do_GET

        def _send_json(self, status: int, body: object) -> None:
            self._send(status, json.dumps(body).encode(), "application/json")

        def _send(self, status: int, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _faults() -> dict[str, str]:
    """What is wrong and keeps no other photo waiting: a workflow file."""
    faults = own_faults()
    return {"workflows": "; ".join(faults)} if faults else {}


def _words(services: Mapping[str, bool]) -> dict[str, str]:
    return {
        name: "ok" if is_available else "unavailable"
        for name, is_available in services.items()
    }
