"""Every request is counted by its route, and has an id that its log lines carry."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from handlers.http.app import build
from shared.runtime.metrics import REGISTRY
from tests.support.upload_world import World

TASK = "00000000-0000-0000-0000-000000000000"
KEY = {"Authorization": "Bearer the-key"}


@pytest.fixture
def client() -> TestClient:
    world = World(settings={"webhook_token": "the-token", "api_key": "the-key"})
    return TestClient(build(world.ctx, checks={}), raise_server_exceptions=False)


def counted(method: str, route: str, status: str) -> float:
    labels = {"method": method, "route": route, "status": status}
    return REGISTRY.get_sample_value("darkroom_http_requests_total", labels) or 0.0


def timed(method: str, route: str) -> float:
    labels = {"method": method, "route": route}
    name = "darkroom_http_request_seconds_count"
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize(
    ("method", "path", "headers", "route", "status"),
    [
        ("GET", "/healthz", {}, "/healthz", 200),
        ("GET", f"/v1/tasks/{TASK}/record", {}, "none", 401),
        ("GET", "/nowhere/at-all", {}, "none", 404),
        ("BREW", "/nowhere", {}, "none", 404),
        ("POST", "/events/storage", {}, "/events/storage", 401),
        ("GET", "/v1/workflows", KEY, "/v1/workflows", 200),
    ],
)
def test_a_request_is_counted_by_the_pattern_of_its_route(
    client: TestClient,
    method: str,
    path: str,
    headers: dict[str, str],
    route: str,
    status: int,
) -> None:
    """Never by what a client wrote: anybody could make as many series as there are
    paths.
    """
    known = "other" if method == "BREW" else method
    before, timed_before = counted(known, route, str(status)), timed(known, route)
    answer = client.request(method, path, headers=headers)
    assert answer.status_code == status, answer.text
    assert counted(known, route, str(status)) == before + 1
    assert timed(known, route) == timed_before + 1


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, 'quote"', "ok-1.2_3"])
def test_a_response_carries_the_id_of_its_request(
    client: TestClient, given: str
) -> None:
    """An id that could break a log line is not taken over."""
    answer = client.get("/healthz", headers={"X-Request-Id": given} if given else {})
    told = answer.headers["x-request-id"]
    assert (told == given) == (given == "ok-1.2_3")
    assert len(told) <= 64


def test_the_lines_of_a_request_carry_its_id(client: TestClient) -> None:
    """Also a line that is written on another thread."""
    headers = {"X-Request-Id": "req-1", "Authorization": "Bearer the-token"}
    with capture_logs(processors=[merge_contextvars]) as logs:
        client.post("/events/storage", content=b"?", headers=headers)
    assert [line["request_id"] for line in logs] == ["req-1"] * len(logs)
    assert "notification.unreadable" in [line["event"] for line in logs]
