"""Who is admitted to ComfyUI's addresses: every one of them × everybody who might ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from handlers.comfyui import routes
from shared.access import USUAL, Scope
from shared.errors import SettingsError
from tests.support.access_world import OPERATOR, Town

ID = "6f962d0e-40d9-45e8-b378-7247258cadde"
MATRIX: dict[str, tuple[Scope, int]] = {
    "POST /upload/image": ("upload", 400),
    "POST /prompt": ("upload", 400),
    "GET /prompt": ("read", 200),
    "GET /queue": ("read", 200),
    "POST /queue": ("delete", 200),
    "GET /history": ("read", 200),
    "POST /history": ("delete", 200),
    "GET /history/{prompt_id}": ("read", 200),
    "POST /interrupt": ("delete", 200),
    "GET /view": ("read", 400),
    "GET /object_info": ("read", 200),
    "GET /object_info/{node_class}": ("read", 200),
    "GET /system_stats": ("read", 200),
}
"""Route → the scope that it needs, and the answer to who has it and asks for nothing."""

ASKERS: dict[str, Callable[[Town, Scope], str | None]] = {
    "no key": lambda town, scope: None,
    "a wrong key": lambda town, scope: "wrong",
    "an expired key": lambda town, scope: town.key(days=-1)[0],
    "all scopes but this": lambda town, scope: town.key(
        scopes=tuple(other for other in USUAL if other != scope)
    )[0],
    "this scope alone": lambda town, scope: town.key(scopes=(scope,))[0],
    "the operator": lambda town, scope: OPERATOR,
}


def status(asker: str, right: int) -> int:
    if asker in ("no key", "a wrong key", "an expired key"):
        return 401
    return 403 if asker == "all scopes but this" else right


def url(route: str, prefix: str = "/comfyui") -> tuple[str, str]:
    method, _, path = route.partition(" ")
    return method, prefix + path.format(prompt_id=ID, node_class="SaveImage")


def test_every_route_is_in_the_matrix() -> None:
    found = set()
    for route in routes.routes():
        if isinstance(route, Route):
            methods = set(route.methods or ()) - {"HEAD"}
            found |= {f"{method} {route.path}" for method in methods}
        else:
            assert isinstance(route, WebSocketRoute)
            assert route.path == "/ws"
    assert found == set(MATRIX)


@pytest.fixture(scope="module")
def town() -> Town:
    return Town(comfyui="header")


@pytest.mark.parametrize("asker", ASKERS)
def test_everybody_gets_what_the_matrix_says(town: Town, asker: str) -> None:
    for route, (scope, right) in MATRIX.items():
        key = ASKERS[asker](town, scope)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        for prefix in ("/comfyui", "/comfyui/api"):
            answer = town.client.request(*url(route, prefix), headers=headers)
            assert answer.status_code == status(asker, right), (route, answer.text)
            if answer.status_code >= 400:
                assert set(answer.json()["error"]) >= {"type", "message"}
            assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("asker", ASKERS)
def test_and_so_it_is_over_a_websocket(town: Town, asker: str) -> None:
    key = ASKERS[asker](town, "read")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    expected = status(asker, 101)
    if expected == 101:
        with town.client.websocket_connect("/comfyui/ws", headers=headers) as socket:
            assert socket.receive_json()["type"] == "status"
        return
    with (
        pytest.raises(WebSocketDenialResponse) as caught,
        town.client.websocket_connect("/comfyui/ws", headers=headers),
    ):
        pass
    assert caught.value.status_code == expected


def test_without_the_setting_there_is_no_such_address() -> None:
    town = Town()
    assert town.ask(OPERATOR, "/comfyui/prompt").status_code == 404
    assert not any(
        isinstance(route, Mount) and route.path == "/comfyui"
        for route in town.client.app.routes  # type: ignore[attr-defined]
    )
    with (
        pytest.raises(WebSocketDisconnect),
        town.client.websocket_connect("/comfyui/ws"),
    ):
        pass


def test_a_key_in_the_query_counts_only_where_the_setting_says_so() -> None:
    by_header, by_query = Town(comfyui="header"), Town(comfyui="query")
    path = "/comfyui/queue?token="
    assert by_header.ask(None, path + by_header.key()[0]).status_code == 401
    key = by_query.key()[0]
    assert by_query.ask(None, path + key).status_code == 200
    assert by_query.ask(key, "/comfyui/queue").status_code == 200
    for wrong in ("", "wrong", "%0a", f"{key}&token={key}"):
        assert by_query.ask(None, path + wrong).status_code == 401
    with by_query.client.websocket_connect(f"/comfyui/ws?token={key}") as socket:
        assert socket.receive_json()["type"] == "status"


def test_a_browsers_session_opens_nothing_here() -> None:
    """A cookie is sent along whoever's page is shown."""
    town = Town(comfyui="header", allow_anonymous=True)
    assert town.ask(None, "/comfyui/queue").status_code == 401
    assert town.ask(None, "/comfyui/queue", cookie="darkroom=x").status_code == 401


HERE: dict[str, tuple[str, dict[str, str], int]] = {
    "a program": ("127.0.0.1", {}, 200),
    "a program over IPv6": ("::1", {}, 200),
    "another machine": ("192.0.2.7", {}, 401),
    "another machine, through a proxy": (
        "127.0.0.1",
        {"x-forwarded-for": "192.0.2.7"},
        401,
    ),
    "a page of another site": ("127.0.0.1", {"origin": "https://evil.example"}, 403),
    "a picture in such a page": ("127.0.0.1", {"sec-fetch-site": "cross-site"}, 403),
    "a name that was made to lead here": ("127.0.0.1", {"host": "evil.example"}, 421),
    "a page of our own": ("127.0.0.1", {"origin": "http://127.0.0.1"}, 200),
}


def test_without_a_key_only_this_machine_is_admitted() -> None:
    town = Town(comfyui="none")
    for asker, (peer, headers, expected) in HERE.items():
        client = TestClient(town.client.app, client=(peer, 40_000))
        sent = {"host": "127.0.0.1"} | headers
        answer = client.get("/comfyui/queue", headers=sent)
        assert answer.status_code == expected, asker


def test_whoever_opens_it_to_all_must_say_so() -> None:
    with pytest.raises(SettingsError, match="DARKROOM_ALLOW_ANONYMOUS"):
        Town(comfyui="none", api_host="0.0.0.0")
    town = Town(comfyui="none", api_host="0.0.0.0", allow_anonymous=True)
    assert town.ask(None, "/comfyui/queue").status_code == 200
    page: Any = {"origin": "https://evil.example"}
    assert town.ask(None, "/comfyui/queue", **page).status_code == 403


def test_wrong_keys_are_counted() -> None:
    town = Town(comfyui="query", limit_failures_per_min=2)
    paths = [f"/comfyui/queue?token=wrong-{number}" for number in range(4)]
    answers = [town.ask(None, path).status_code for path in paths]
    assert answers == [401, 401, 429, 429]
    limited = Town(comfyui="header", limit_requests_per_min=2)
    key = limited.key()[0]
    found = [limited.ask(key, "/comfyui/queue").status_code for _ in range(4)]
    assert found == [200, 200, 429, 429]
