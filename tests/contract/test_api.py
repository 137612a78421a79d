"""The API's reads, on the real store and the real database."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from handlers.audit_log.database import AuditLog
from handlers.context import Context
from handlers.http import problems
from handlers.http.api import routes
from handlers.http.auth import guard
from infra.local.stack import Stack
from shared.runtime.settings import Settings
from shared.s3.clock import SystemClock
from shared.s3.store import S3Store
from shared.uploads import events, keys
from shared.uploads.documents import ModelRef, Record, Source, WorkflowRef
from tests.support.memory_publisher import MemoryPublisher

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


def record(minute: int = 0) -> Record:
    task = str(uuid4())
    return Record(
        task_id=task,
        upload_id=str(uuid4()),
        user_hash=uuid4().hex * 2,
        source=Source(
            bucket="uploads",
            key="a/grandma.jpg",
            etag="e",
            bytes=9,
            sha256="ab" * 32,
            width=2,
            height=1,
            upload_time=NOW + timedelta(minutes=minute),
        ),
        workflow=WorkflowRef(
            name="fast", version=1, params={"scale": 4.0}, signature="0123456789abcdef"
        ),
        models=[ModelRef(name="m", sha256="cd" * 32)],
        engine="ncnn",
        device="cpu",
        tile={},
        steps=[],
        width=8,
        height=4,
        result_key=keys.result(task),
        result_sha256="ef" * 32,
        result_bytes=3,
        attempts=1,
        queued_at=NOW,
        started_at=NOW,
        finished_at=NOW,
        duration_seconds=1.0,
        queue_seconds=0.1,
        peak_memory_bytes=1,
        software="d",
    )


def client_of(settings: Settings) -> TestClient:
    app = FastAPI()
    problems.install(app)
    ctx = Context(settings, S3Store(settings), MemoryPublisher(), SystemClock())
    guard.install(app, ctx)
    routes.install(app, ctx)
    key = settings.api_key.get_secret_value()
    return TestClient(
        app, headers={"Authorization": f"Bearer {key}"}, follow_redirects=False
    )


@pytest.fixture
def client(servers: Stack) -> Iterator[TestClient]:
    with client_of(servers.settings) as client:
        yield client


@pytest.fixture
def logged(servers: Stack) -> list[Record]:
    """Three restored photos of one user, in the log and in the bucket."""
    records = [record(minute) for minute in range(3)]
    records = [
        one.model_copy(update={"user_hash": records[0].user_hash}) for one in records
    ]
    AuditLog(servers.settings).write(
        [events.of_record(one, "results") for one in records]
    )
    store = S3Store(servers.settings)
    for one in records:
        store.put(
            "results", keys.record(one.task_id), one.to_bytes(), "application/json"
        )
        store.put("results", one.result_key, b"png", "image/png")
    return records


def test_pages_follow_each_other_newest_first(
    client: TestClient, logged: list[Record]
) -> None:
    user = logged[0].user_hash
    first = client.get("/v1/tasks", params={"user": user, "limit": 2}).json()
    second = client.get(
        "/v1/tasks", params={"user": user, "limit": 2, "cursor": first["next"]}
    ).json()
    shown = [row["task_id"] for row in first["items"] + second["items"]]
    assert shown == [one.task_id for one in reversed(logged)]
    assert second["next"] is None


def test_one_task_with_its_events_record_and_links(
    client: TestClient, logged: list[Record]
) -> None:
    task = logged[0].task_id
    shown = client.get(f"/v1/tasks/{task}").json()
    assert (shown["status"], [event["kind"] for event in shown["events"]]) == (
        "success",
        ["success"],
    )
    assert shown["uploads"][0]["image_filename"] == "grandma.jpg"
    assert (
        Record.model_validate(client.get(f"/v1/tasks/{task}/record").json())
        == logged[0]
    )
    link = client.get(f"/v1/tasks/{task}/result")
    assert link.status_code == 307
    assert keys.result(task) in link.headers["location"]
    assert "Signature" in link.headers["location"]


def test_what_is_unknown_is_404_and_what_is_wrong_422(client: TestClient) -> None:
    """Every refusal is a problem document."""
    asked = {
        f"/v1/tasks/{uuid4()}": 404,
        f"/v1/tasks/{uuid4()}/result": 404,
        f"/v1/tasks/{uuid4()}/record": 404,
        "/v1/tasks?user=%00": 422,
        "/v1/tasks?until=0001-01-01T00:00:00%2B23:59": 422,
        "/v1/tasks?since=9999-12-31T23:59:59-23:59": 422,
        "/v1/tasks?since=0001-01-01T00:00:00Z": 200,
        f"/v1/tasks?cursor={cursor('9999-12-31T23:59:59-23:59')}": 422,
        f"/v1/tasks?cursor={cursor('9999-12-31T23:59:59Z')}": 200,
        "/v1/tasks/nonsense": 422,
        "/v1/tasks?cursor=nonsense": 422,
        "/v1/tasks?limit=0": 422,
    }
    for path, status in asked.items():
        answer = client.get(path)
        assert answer.status_code == status, path
        assert (
            status < 400 or answer.headers["content-type"] == "application/problem+json"
        )


def cursor(moment: str) -> str:
    return base64.urlsafe_b64encode(
        json.dumps([moment, str(uuid4())]).encode()
    ).decode()


@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer wrong", "Basic x", "Bearer é"]
)
def test_without_the_key_nothing_is_shown(
    client: TestClient, header: str | None
) -> None:
    headers = {"Authorization": header.encode()} if header else {"Authorization": ""}
    for path in ("/v1/tasks", f"/v1/tasks/{uuid4()}", "/v1/workflows", "/v1/stats"):
        assert client.get(path, headers=headers).status_code == 401


def test_an_empty_key_closes_the_api(servers: Stack) -> None:
    closed = client_of(
        servers.settings.model_copy(
            update={"api_key": type(servers.settings.api_key)("")}
        )
    )
    assert closed.get("/v1/workflows").status_code == 401


def test_one_task_is_answered_without_the_database(
    servers: Stack, logged: list[Record]
) -> None:
    away = type(servers.settings.database_url)("postgresql://nobody@127.0.0.1:1/none")
    client = client_of(servers.settings.model_copy(update={"database_url": away}))
    shown = client.get(f"/v1/tasks/{logged[0].task_id}").json()
    assert (shown["status"], shown["uploads"][0]["sha256"]) == ("success", "ab" * 32)
    assert client.get("/v1/tasks").status_code == 503
    assert client.get(f"/v1/tasks/{uuid4()}").status_code == 503


def test_a_result_is_shown_before_the_log_knows_of_it(
    client: TestClient, servers: Stack
) -> None:
    """The record is the truth, and the log may be late."""
    late = record()
    S3Store(servers.settings).put(
        "results", keys.record(late.task_id), late.to_bytes(), "application/json"
    )
    shown = client.get(f"/v1/tasks/{late.task_id}").json()
    assert (
        shown["status"],
        shown["uploads"][0]["image_filename"],
        shown["events"],
    ) == ("success", "grandma.jpg", [])


def test_workflows_come_with_a_schema_of_their_parameters(client: TestClient) -> None:
    offers = {offer["name"]: offer for offer in client.get("/v1/workflows").json()}
    assert offers["fast"]["params_schema"]["properties"]["scale"]["maximum"] == 4


def test_counts(client: TestClient, logged: list[Record]) -> None:
    assert isinstance(client.get("/v1/stats", params={"days": 366}).json(), list)
