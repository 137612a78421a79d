"""The HTTP app: what it accepts, what it answers, and that every error is a problem
document.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog
from fastapi.testclient import TestClient
from prometheus_client import generate_latest

from handlers.http.app import build
from handlers.http.health import SILENT_S
from handlers.http.readiness import Check, checks_of, run_checks
from handlers.intake.notifications import MAX_BYTES
from shared.errors import BrokerUnavailable, DatabaseUnavailable
from shared.runtime.metrics import METRICS, REGISTRY
from shared.runtime.settings import Settings
from tests.support.upload_world import World, photo
from tests.support.waiting import eventually

TOKEN = {"Authorization": "Bearer the-token"}
EVENTS = Path(__file__).parents[3] / "events"


class Consumer:
    """The queue consumer's state as a test sets it."""

    def __init__(self, running: bool = True, silent_s: float = 0.0) -> None:
        self.running, self.silent = running, silent_s

    def is_running(self) -> bool:
        return self.running

    def silent_s(self) -> float:
        return self.silent


@pytest.fixture
def world() -> World:
    return World(settings={"webhook_token": "the-token"})


@pytest.fixture
def client(world: World) -> TestClient:
    return TestClient(build(world.ctx, checks={}), raise_server_exceptions=False)


def notification(*keys: str) -> bytes:
    return json.dumps(
        {
            "Records": [
                {
                    "eventName": "ObjectCreated:Put",
                    "s3": {"bucket": {"name": "uploads"}, "object": {"key": key}},
                }
                for key in keys
            ]
        }
    ).encode()


def problem(response: httpx2.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert set(body) == {"type", "title", "status", "detail", "code"}
    assert body["status"] == response.status_code
    return body


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_notification_is_answered_with_its_decisions(
    world: World, client: TestClient, method: str
) -> None:
    """One decision for each event, in order."""
    world.put("a.png", photo())
    world.put("b.jpg", b"text")
    response = client.request(
        method,
        "/events/storage",
        content=notification("a.png", "b.jpg", "c"),
        headers=TOKEN,
    )
    assert response.status_code == 200
    decisions = response.json()["decisions"]
    assert [decision["kind"] for decision in decisions] == [
        "queued",
        "rejected",
        "ignored",
    ]
    assert decisions[0]["task_id"] == world.tasks()[0].task_id
    assert decisions[1]["code"] == "unsupported_format"


def test_a_notification_about_nothing_of_ours_is_fine(client: TestClient) -> None:
    """A store must not send it again."""
    for name in (
        "seaweedfs-directory",
        "aws-test-event",
        "aws-other-bucket",
        "minio-delete",
    ):
        response = client.post(
            "/events/storage",
            content=(EVENTS / f"{name}.json").read_bytes(),
            headers=TOKEN,
        )
        assert (response.status_code, response.json()) == (200, {"decisions": []})


def test_cloudevents_headers_are_read(world: World, client: TestClient) -> None:
    """A binary CloudEvent has its type in the headers."""
    record = json.loads(notification("a.png"))["Records"][0]
    headers = {"ce-specversion": "1.0", "ce-type": "com.amazonaws.s3.ObjectCreated:Put"}
    response = client.post("/events/storage", json=record, headers=TOKEN | headers)
    assert [decision["kind"] for decision in response.json()["decisions"]] == [
        "ignored"
    ]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_store_finds_out_that_notifications_are_accepted(
    client: TestClient, method: str
) -> None:
    """MinIO asks with HEAD, without a token, before it sends anything."""
    assert client.request(method, "/events/storage").status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_nothing_lies_at_the_root(client: TestClient, method: str) -> None:
    """HEAD is answered at the routes that have it, and nowhere else."""
    assert client.request(method, "/").status_code == 404


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Basic the-token",
        "the-token",
        "Bearer the-token2",
        "Bearer th\u00e9",
        "Basic",
        "Basic =",
        "Basic OnRoZS10b2tlbjI=",
        "Basic dGhlLXRva2Vu",
        "Basic /////w==",
        "Basic th\u00e9",
    ],
)
def test_without_the_token_nothing_is_even_read(
    world: World, client: TestClient, authorization: str
) -> None:
    """Whatever is sent instead of it; an unreadable body gives nothing away."""
    world.put("a.png", photo())
    for content in (notification("a.png"), b"garbage"):
        response = client.post(
            "/events/storage",
            content=content,
            headers={b"Authorization": authorization.encode()},
        )
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert problem(response)["code"] == "unauthorized"
    assert not world.publisher.sent


def test_a_server_that_has_only_an_address_sends_the_token_as_its_password(
    world: World, client: TestClient
) -> None:
    """Ceph takes `http://name:password@host/…`, whatever the name."""
    world.put("a.png", photo())
    authorization = {
        "Authorization": f"Basic {b64encode(b'darkroom:the-token').decode()}"
    }
    assert (
        client.post(
            "/events/storage", content=notification("a.png"), headers=authorization
        ).status_code
        == 200
    )
    assert len(world.tasks()) == 1


def test_an_empty_secret_opens_nothing() -> None:
    """Where the token was never set, every notification is refused."""
    world = World()
    client = TestClient(build(world.ctx, checks={}))
    for authorization in ("", "Bearer", "Bearer ", "Basic Og=="):
        headers = {"Authorization": authorization}
        assert (
            client.post(
                "/events/storage", content=notification("a"), headers=headers
            ).status_code
            == 401
        )


@pytest.mark.parametrize(
    "content", [b"", b"not json", b"[" * 100_000, b'{"hello": 1}', b"\x00\xff"]
)
def test_what_cannot_be_read_is_a_bad_request(
    client: TestClient, content: bytes
) -> None:
    """With a sentence that says why; sending it again would not help."""
    response = client.post("/events/storage", content=content, headers=TOKEN)
    assert response.status_code == 400
    assert problem(response)["code"] == "bad_message"


@pytest.mark.parametrize("streamed", [False, True])
def test_too_much_is_refused(client: TestClient, streamed: bool) -> None:
    """By its announced length, or as soon as that much has come."""
    pieces = [b" " * 100_000] * (MAX_BYTES // 100_000 + 1)
    response = client.post(
        "/events/storage",
        content=iter(pieces) if streamed else b"".join(pieces),
        headers=TOKEN,
    )
    assert response.status_code == 413
    assert problem(response)["code"] == "too_large"


def test_a_store_that_is_down_makes_the_sender_come_again(
    world: World, client: TestClient
) -> None:
    """503 with a time; after that the same notification succeeds."""
    world.put("a.png", photo())
    world.store.unavailable = True
    response = client.post(
        "/events/storage", content=notification("a.png"), headers=TOKEN
    )
    assert response.status_code == 503
    assert response.headers["retry-after"] == "5"
    assert problem(response)["code"] == "storage_unavailable"
    world.store.unavailable = False
    again = client.post("/events/storage", content=notification("a.png"), headers=TOKEN)
    assert again.json()["decisions"][0]["kind"] == "queued"


@pytest.mark.parametrize(
    "path", ["/healthz/", "/events/storage/", "/openapi.json/", "/v1/tasks/"]
)
def test_no_client_is_redirected(client: TestClient, path: str) -> None:
    """Least of all to whom `Host` names, without TLS and with the key."""
    response = client.get(
        path, headers={"Host": "evil.example"}, follow_redirects=False
    )
    assert response.status_code in (401, 404)
    assert "location" not in response.headers


def test_a_service_that_is_away_says_nothing_of_itself(world: World) -> None:
    """Where it is, and as whom we ask it: that is for the log."""

    class Away:
        def __getattr__(self, name: str) -> Any:
            raise DatabaseUnavailable(
                'connection to server at "10.1.2.3" failed for user "darkroom"'
            )

    client = TestClient(build(replace(world.ctx, store=Away()), checks={}))  # type: ignore[arg-type]
    with structlog.testing.capture_logs() as lines:
        response = client.post(
            "/events/storage", content=notification("a.png"), headers=TOKEN
        )
    assert problem(response)["code"] == "database_unavailable"
    assert (
        response.json()["detail"] == "the log database is away for a moment; try again"
    )
    assert [
        line["detail"][:24] for line in lines if line["event"] == "request.postponed"
    ] == ["connection to server at "]


def test_a_bug_is_a_problem_document_without_its_inside(world: World) -> None:
    """The log has the cause, the sender only learns that it was us."""

    class Buggy:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("the secret cause")

    client = TestClient(
        build(replace(world.ctx, store=Buggy()), checks={}),
        raise_server_exceptions=False,
    )  # type: ignore[arg-type]
    response = client.post(
        "/events/storage", content=notification("a.png"), headers=TOKEN
    )
    assert response.status_code == 500
    assert problem(response)["code"] == "internal"
    assert "secret cause" not in response.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("DELETE", "/events/storage", 405)],
)
def test_routing_errors_are_problem_documents(
    client: TestClient, method: str, path: str, status: int
) -> None:
    """Also those that no code of ours raises."""
    response = client.request(method, path)
    assert response.status_code == status
    problem(response)


def test_health(world: World) -> None:
    """A consumer that ended, or that does not hear a broker which others hear, is a
    reason to be restarted.
    """
    reachable = {"broker": Check(lambda: None)}

    def unreachable() -> None:
        raise BrokerUnavailable("down")

    def health(consumer: Consumer | None, checks: dict[str, Check]) -> int:
        return (
            TestClient(build(world.ctx, consumer, checks)).get("/healthz").status_code
        )

    assert health(None, reachable) == 200
    assert health(Consumer(), reachable) == 200
    assert health(Consumer(running=False), reachable) == 503
    assert health(Consumer(silent_s=SILENT_S + 1), reachable) == 503
    assert (
        health(Consumer(silent_s=SILENT_S + 1), {"broker": Check(unreachable)}) == 200
    )


def test_readiness_tells_strangers_no_more_than_whether(world: World) -> None:
    """Which service is away is on the port for operators; so are all metrics."""

    def down() -> None:
        raise OSError("no route")

    some = {"storage": Check(lambda: None), "broker": Check(down)}
    client = TestClient(build(world.ctx, checks=some))
    response = client.get("/readyz")
    assert (response.status_code, response.json()) == (503, {"status": "unavailable"})
    assert asyncio.run(run_checks(some)) == {"storage": True, "broker": False}
    assert client.get("/metrics").status_code == 404
    response = TestClient(
        build(world.ctx, checks={"storage": Check(lambda: None)})
    ).get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_a_service_that_hangs_is_asked_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readiness answers all the same, and no threads pile up behind the one that waits."""
    monkeypatch.setattr("handlers.http.readiness.ANSWER_S", 0.05)
    release, questions = threading.Event(), []

    def hang() -> None:
        questions.append(1)
        release.wait()

    with TestClient(build(world.ctx, checks={"storage": Check(hang)})) as client:
        try:
            assert client.get("/readyz").status_code == 503
            eventually(lambda: questions, "the question")
            assert [client.get("/readyz").status_code for _ in range(2)] == [503, 503]
            assert questions == [1]
        finally:
            release.set()


def test_the_real_questions(world: World) -> None:
    """Storage is ready when both buckets can be listed; a broker at a dead address is
    not.
    """
    settings = {"broker_url": "redis://127.0.0.1:1/0", "publish_timeout_s": 1}
    ctx = replace(
        world.ctx, settings=Settings(**(world.ctx.settings.model_dump() | settings))
    )  # type: ignore[arg-type]
    assert asyncio.run(run_checks(checks_of(ctx))) == {"storage": True, "broker": False}
    world.store.unavailable = True
    assert asyncio.run(run_checks(checks_of(ctx))) == {
        "storage": False,
        "broker": False,
    }


def test_metrics_count_uploads_and_notifications(
    world: World, client: TestClient
) -> None:
    """Every figure that is exposed under our name is listed with its meaning."""

    def value(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, labels) or 0.0

    queued, unreadable = (
        value("darkroom_uploads_total", decision="queued"),
        value("darkroom_notifications_total", door="http", outcome="unreadable"),
    )
    world.put("a.png", photo())
    client.post("/events/storage", content=notification("a.png"), headers=TOKEN)
    client.post("/events/storage", content=b"?", headers=TOKEN)
    assert value("darkroom_uploads_total", decision="queued") == queued + 1
    assert (
        value("darkroom_notifications_total", door="http", outcome="unreadable")
        == unreadable + 1
    )
    exposed = generate_latest(REGISTRY).decode()
    names = {
        line.split()[2]
        for line in exposed.splitlines()
        if line.startswith("# HELP darkroom_")
    }
    assert names <= METRICS.keys()


def test_every_route_is_known(client: TestClient) -> None:
    """What needs no key answers, and is not in the API's own document."""
    for path in ("/healthz", "/readyz", "/openapi.json"):
        assert client.get(path).status_code == 200
    assert "/events/storage" not in client.get("/openapi.json").json()["paths"]


def test_many_at_once(client: TestClient, world: World) -> None:
    """More notifications than threads: each is answered for its own upload."""
    for n in range(20):
        world.put(f"{n}.png", photo(colour=n))
    responses: list[httpx2.Response] = []
    threads = [
        threading.Thread(
            target=lambda n=n: responses.append(
                client.post(
                    "/events/storage", content=notification(f"{n}.png"), headers=TOKEN
                )
            )
        )
        for n in range(20)
    ]
    with client:  # one event loop for all, as in a server
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert [response.status_code for response in responses] == [200] * 20
    assert len(world.tasks()) == 20


@pytest.mark.parametrize("log_format", ["json", "pretty"])
def test_a_bug_is_logged_without_the_keys_of_who_met_it(log_format: str) -> None:
    """Where it happened is logged, what the variables held is not; `rich` would print all
    of them.
    """
    program = f"""
from shared.runtime.settings import Settings
from shared.runtime.telemetry import configure, logger
configure(Settings(log_format={log_format!r}), "test")
def meet(header):
    raise RuntimeError("a bug")
try:
    meet("drk_" + "secret" * 2)
except RuntimeError as error:
    logger().error("request.failed", exc_info=error)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "secretsecret" not in ran.stderr
    assert "in meet" in ran.stderr
    assert "RuntimeError: a bug" in ran.stderr
