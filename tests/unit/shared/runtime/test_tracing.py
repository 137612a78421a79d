"""Traces: a collector stands in; the photo's own way is in its spans."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from shared.broker.delivery import Delivery
from shared.errors import SettingsError
from shared.runtime import tracing

TASK = "0bd8d341-5c50-58d3-9a42-e27de57e0974"
TRACE = "0af7651916cd43dd8448eb211c80319c"
ROOT = Path(__file__).parents[4]
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
PROGRAM = """
import json
from handlers.on_upload import on_upload
from shared.runtime import tracing
from tests.support.upload_world import World, photo

tracing.start("http")
world = World()
decision = on_upload(world.put("a.png", photo()), world.ctx)
receipt = world.ctx.uploads.receipt(decision.upload_id)
try:
    with tracing.span("photo.restore", receipt.traceparent, task_id=receipt.task_id):
        raise ValueError("a user's words")
except ValueError:
    pass
sent = [(message.queue, dict(message.headers)) for message in world.publisher.sent]
print(json.dumps({"parent": receipt.traceparent, "sent": sent}))
"""

REQUESTS = """
from fastapi import FastAPI
from fastapi.testclient import TestClient

from handlers.http import observed
from shared.runtime import tracing

tracing.start("http")
app = FastAPI()
observed.note_routes(app)

@app.get("/v1/tasks/{task_id}")
def task(task_id: str) -> str | None:
    with tracing.span("inner"):
        return tracing.traceparent()

@app.get("/healthz")
def health() -> None: ...

observed.install(app)
client = TestClient(app)
client.get("/healthz")
client.get("/v1/nowhere")
client.get("/v1/tasks/secret-id", headers={"traceparent": "PARENT"})
print()
"""


class Collector:
    """What was sent by OTLP over HTTP."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                length = int(self.headers["content-length"])
                outer.bodies.append(self.rfile.read(length))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(
            target=self.server.serve_forever, args=(0.05,), daemon=True
        ).start()

    def spans(self) -> list[Span]:
        requests = map(ExportTraceServiceRequest.FromString, self.bodies)
        return [
            span
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.server.shutdown()
    made.server.server_close()


def run(program: str, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if "OTEL_" not in name}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_a_photo_stays_in_the_trace_of_its_upload(collector: Collector) -> None:
    """Receipt and messages carry it; what is left at the end of the process is sent. No
    span has an error's words.
    """
    told = json.loads(run(PROGRAM, **{ENDPOINT: collector.url}))
    assert told["sent"]
    for _queue, headers in told["sent"]:
        assert headers == {"traceparent": told["parent"]}
    upload, restore = sorted(collector.spans(), key=lambda span: span.name == "upload")[
        ::-1
    ]
    _, trace_id, span_id, _ = told["parent"].split("-")
    assert (upload.name, restore.name) == ("upload", "photo.restore")
    assert upload.trace_id.hex() == restore.trace_id.hex() == trace_id
    assert upload.span_id.hex() == restore.parent_span_id.hex() == span_id
    assert restore.status.message == "ValueError"
    assert b"words" not in b"".join(collector.bodies)


def test_a_request_is_a_span_by_its_route(collector: Collector) -> None:
    """It goes on the caller's trace; probes are none, and no address is said."""
    run(REQUESTS.replace("PARENT", PARENT), **{ENDPOINT: collector.url})
    named = {span.name: span for span in collector.spans()}
    assert named.keys() == {"GET none", "GET /v1/tasks/{task_id}", "inner"}
    served, inner = named["GET /v1/tasks/{task_id}"], named["inner"]
    assert served.kind == Span.SPAN_KIND_SERVER
    assert served.trace_id.hex() == TRACE
    assert inner.parent_span_id == served.span_id
    facts = {fact.key: fact.value for fact in served.attributes}
    assert facts["http.response.status_code"].int_value == 200
    assert facts["http.route"].string_value == "/v1/tasks/{task_id}"
    assert b"secret-id" not in b"".join(collector.bodies)


def test_nothing_is_loaded_without_a_collector() -> None:
    """And no receipt and no message has a `traceparent`."""
    loaded = "import sys; print('opentelemetry.sdk' in sys.modules)"
    told = run(PROGRAM + loaded)
    assert told == "False"


def test_without_the_packages_the_way_out_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(SettingsError, match=r"\.\[otel\]"):
        tracing.start("http")


def test_without_traces_everything_is_as_ever() -> None:
    """What an earlier process wrote is passed on all the same."""
    assert tracing.traceparent() is None
    assert tracing.headers(None) == {}
    assert tracing.headers(PARENT) == {"traceparent": PARENT}
    assert tracing.parent_in({"traceparent": 5}) is None
    with pytest.raises(ZeroDivisionError), tracing.span("x", "junk"):
        _ = 1 / 0


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        (f'{{"task_id": "{TASK}", "upload_id": "{TASK}", "x": 1}}', 2),
        (f'{{"upload_id": "{TASK}"}}', 1),
        ('{"upload_id": "Ann\'s photo"}', 0),
        ('{"upload_id": 5}', 0),
        ("[]", 0),
        ("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), 0),
        ("[" * 100_000, 0),
    ],
)
def test_a_message_names_its_ids_for_the_log(body: str, ids: int) -> None:
    """Ids, and nothing that somebody wrote."""
    delivery = Delivery("q", body.encode(), {}, False, lambda *_: None)
    assert len(delivery.ids()) == ids
    assert set(delivery.ids().values()) <= {TASK}
