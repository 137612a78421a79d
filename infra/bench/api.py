"""`bench api`: the HTTP API over real sockets: tickets a second, and a page of a long
log.

Server and client are processes of their own. The reference is the same server at its
simplest response, `GET /healthz`, in turn with the tickets: what is left is server,
sockets and client.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection
from itertools import chain
from multiprocessing.connection import Connection

import psutil

from handlers.audit_log.connections import connect
from infra.bench.asker import asking
from infra.bench.figures import Figures, Spread, percentile, show
from infra.bench.quiet import quiet
from shared import access
from shared.runtime.settings import Settings
from shared.s3.store import S3Store
from shared.uploads import identity

TICKETS = "POST /v1/uploads"
HEALTH = "GET /healthz"
PAGE = "/v1/tasks?limit=10"
ROUNDS = 5
CONNECTIONS = 8
START_S = 60.0
LIMIT_S = 60.0
MONTHS = 12
ROWS_AT_ONCE = 50_000
"""Rows of one statement."""
_NO_LIMIT = 10**15
_PHOTO = {
    "filename": "grandma.jpg",
    "content_type": "image/jpeg",
    "workflow": "fast",
    "params": {"scale": 2},
    "priority": "interactive",
    "bytes": 482113,
}

_MONTHS = "SELECT darkroom.ensure_month(now() - make_interval(months => m)) FROM generate_series(0, %(months)s) AS m"
_ROWS = """
    INSERT INTO darkroom.restoration_log (
        upload_id, upload_time, task_id, user_id, image_filename, workflow_type, workflow_version, params, signature,
        status, result_url, duration_seconds, queue_seconds, attempts, width, height, bytes, sha256, engine, device,
        peak_memory_bytes
    )
    SELECT gen_random_uuid(), now() - i * make_interval(months => %(months)s) / %(rows)s, gen_random_uuid(),
           CASE WHEN i %% 100 = 0 THEN %(user)s ELSE encode(sha256(int4send(i %% 1000)), 'hex') END,
           'IMG_20260102_030405.jpg', (ARRAY['fast', 'enhance', 'oldphoto'])[1 + i %% 3], 1, '{"scale": 4}',
           '0123456789abcdef',
           (CASE i %% 20 WHEN 0 THEN 'failed' WHEN 1 THEN 'duplicate' ELSE 'success' END)::darkroom.status,
           's3://results/processed/x.png', 1.5, 0.5, 1, 1536, 1024, 1000000, %(user)s, 'ncnn', 'cpu', 500000000
    FROM generate_series(%(first)s, %(last)s) AS i
"""
_PARTITIONS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'darkroom.restoration_log'::regclass"


@dataclass(frozen=True)
class Request:
    """A request that is sent again and again, on so many connections, and the status
    that it is answered with.
    """

    content: bytes
    status: int
    connections: int


@dataclass(frozen=True)
class Round:
    """What one round measured: requests a second, the server's CPU time for one [s],
    and what each took [s].
    """

    rate: float
    cpu_s: float
    taken_s: list[float]


@dataclass
class Server:
    """The server's process, the client's, and the rounds so far by name of request."""

    port: int
    process: psutil.Process
    client: Connection
    rounds: dict[str, list[Round]] = field(default_factory=dict)

    def run_round(self, name: str, request: Request, lasts_s: float) -> None:
        """Send one kind of request for `lasts_s` seconds."""
        before_s = self._cpu_s()
        order = request.content, request.status, request.connections, lasts_s
        self.client.send((self.port, *order))
        if not self.client.poll(lasts_s + LIMIT_S):
            raise TimeoutError(f"{name}: no answer within {LIMIT_S:g} s")
        result = self.client.recv()
        if isinstance(result, Exception):
            raise result
        rate, taken_s = result
        cpu_s = (self._cpu_s() - before_s) / len(taken_s)
        self.rounds.setdefault(name, []).append(Round(rate, cpu_s, taken_s))

    def figures(self, name: str) -> dict[str, object]:
        rounds = self.rounds[name]
        taken_s = list(chain.from_iterable(each.taken_s for each in rounds))
        cpu_s = statistics.median(each.cpu_s for each in rounds)
        return {
            "requests/s": Spread.of([each.rate for each in rounds]),
            "p50 ms": percentile(taken_s, 0.5) * 1000,
            "p99 ms": percentile(taken_s, 0.99) * 1000,
            "door's cpu ms": cpu_s * 1000,
        }

    def _cpu_s(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)


def run(settings: Settings, rows: int, seconds: float, as_json: bool) -> int:
    """Measure, and print the figures; the exit status."""
    quiet(settings)
    measured = measure(settings, rows, seconds)
    numbers = {"rows": rows, "rounds": ROUNDS, "connections": CONNECTIONS}
    return show("api", numbers, measured, as_json)


def measure(settings: Settings, rows: int, seconds: float) -> dict[str, Figures]:
    """Measure each kind of request for `seconds` in each round, beside a log of `rows`
    rows. A first round warms up.

    Raises `AssertionError` at a response of another status.
    """
    pepper = settings.pepper.get_secret_value().encode()
    tenant = identity.user_hash("bench", pepper)
    key = _new_key(settings, tenant)
    fill(settings, tenant, rows)
    requests = _requests(key, settings.api_key.get_secret_value())
    with opened(settings) as server:
        for name, sent in requests.items():
            server.run_round(name, sent, min(seconds, 1.0))
        server.rounds.clear()
        for _ in range(ROUNDS):
            for name, sent in requests.items():
                server.run_round(name, sent, seconds)
    found = {name: server.figures(name) for name in requests}
    pairs = zip(server.rounds[TICKETS], server.rounds[HEALTH], strict=True)
    ratios = [tickets.rate / health.rate for tickets, health in pairs]
    found[TICKETS]["ratio to /healthz"] = Spread.of(ratios)
    return dict(found)


def _new_key(settings: Settings, tenant: str) -> str:
    """Return a new API key of a tenant."""
    key, document = access.mint(tenant, access.USUAL, datetime.now(UTC))
    S3Store(settings).put_new(
        settings.bucket_access,
        access.place(document.id),
        document.to_bytes(),
        "text/json",
    )
    return key


def _requests(tenant_key: str, operator_key: str) -> dict[str, Request]:
    photo = json.dumps(_PHOTO).encode()
    ticket = request("POST", "/v1/uploads", tenant_key, photo)
    of_tenant = request("GET", PAGE, tenant_key)
    of_operator = request("GET", PAGE, operator_key)
    return {
        TICKETS: Request(ticket, 201, CONNECTIONS),
        HEALTH: Request(request("GET", "/healthz"), 200, CONNECTIONS),
        f"GET {PAGE}, tenant": Request(of_tenant, 200, 1),
        f"GET {PAGE}, operator": Request(of_operator, 200, 1),
    }


def fill(settings: Settings, user_hash: str, rows: int) -> None:
    """Rows into the log: a year's, a hundredth of them this user's, as the recorder
    would have left them.
    """
    connection = connect(settings, statement_s=0)
    connection.autocommit = True  # VACUUM wants none but its own transaction
    try:
        with connection.cursor() as cursor:
            cursor.execute(_MONTHS, {"months": MONTHS})
            for first in range(1, rows + 1, ROWS_AT_ONCE):
                part = {"first": first, "last": min(first + ROWS_AT_ONCE - 1, rows)}
                cursor.execute(
                    _ROWS, {"months": MONTHS, "rows": rows, "user": user_hash} | part
                )
            cursor.execute(_PARTITIONS)
            for (partition,) in cursor.fetchall():
                cursor.execute(f"VACUUM (ANALYZE) {partition}")
            cursor.execute("ANALYZE darkroom.restoration_log")
    finally:
        connection.close()


@contextmanager
def opened(settings: Settings) -> Iterator[Server]:
    """A server without limits, and a client."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    limits = {
        name: _NO_LIMIT
        for name in type(settings).model_fields
        if name.startswith("limit_")
    }
    own = settings.model_copy(
        update={**limits, "api_host": "127.0.0.1", "api_port": port}
    )
    environment = os.environ | own.variables(exclude={"ready_file", "failpoint"})
    command = [sys.executable, "-P", "-m", "handlers", "http"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    client = context.Process(target=asking, args=(theirs,), daemon=True)
    client.start()
    theirs.close()  # so that its end is heard of
    try:
        _until_open(port, process)
        yield Server(port, psutil.Process(process.pid), ours)
    finally:
        for started in (process, client):
            started.kill()
        process.wait()
        client.join()


def _until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    ends_s = time.monotonic() + START_S
    while time.monotonic() < ends_s and process.poll() is None:
        with (
            suppress(OSError),
            closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection,
        ):
            connection.request("GET", "/healthz", headers={"Connection": "close"})
            with connection.getresponse() as answer:
                if answer.status == 200:
                    return
        time.sleep(0.05)
    raise TimeoutError("the server does not start")


def request(method: str, path: str, key: str = "", body: bytes = b"") -> bytes:
    """As it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"Authorization: Bearer {key}"] if key else []
    lines += (
        ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        if body
        else []
    )
    return "\r\n".join([*lines, "", ""]).encode() + body
