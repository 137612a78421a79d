"""The connector against a stand-in for Immich, which answers in the shapes of its OpenAPI
document; no Immich was at hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from uuid import UUID

import pytest
import typer

from infra.commands.immich import immich
from infra.immich import Immich
from shared.errors import SettingsError
from tests.unit.infra.test_client_uploads import RESULT, World

ALBUM = UUID("0b0e7f1c-2f54-4b0e-8f0a-6c1d2e3f4a5b")
ADDED = "99999999-0000-4000-8000-000000000000"
NAMES = ["grandma.jpg", "../../etc/x\x1b[2J.jpg", "grandma-restored.png", "broken.jpg"]


def asset(number: int, name: str) -> dict[str, Any]:
    return {
        "id": f"{number:08d}-0000-4000-8000-000000000000",
        "type": "IMAGE",
        "originalFileName": name,
        "fileCreatedAt": "1931-05-04T03:02:01.000Z",
        "fileModifiedAt": "1931-05-04T03:02:01.000Z",
        "deviceAssetId": name,
        "deviceId": "web",
        "checksum": "x",
    }


class StandIn(ThreadingHTTPServer):
    """`known`: bytes that it has already."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.known = False
        self.sent: list[tuple[str, bytes]] = []


class Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_GET(self) -> None:
        if self._is_admitted():
            self._answer(200, b"the original " + self.path.encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if not self._is_admitted():
            return
        self.server.sent.append((self.path, body))
        if self.path == "/api/search/metadata":
            page = json.loads(body)["page"]
            items = [asset(n, name) for n, name in enumerate(NAMES)]
            shown = items[2 * page - 2 : 2 * page]
            following = str(page + 1) if len(items) > 2 * page else None
            found = {"total": len(shown), "items": shown, "nextPage": following}
            self._json(200, {"albums": {}, "assets": found})
        elif self.path == "/api/assets":
            status = "duplicate" if self.server.known else "created"
            code = 200 if self.server.known else 201
            self._json(code, {"id": ADDED, "status": status})
        else:
            self._json(201, {"id": "s", "primaryAssetId": ADDED, "assets": []})

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.sent.append((self.path, body))
        self._json(200, [{"id": ADDED, "success": True}])

    def _is_admitted(self) -> bool:
        if self.headers["x-api-key"] == "immich-key":
            return True
        self._json(401, {"message": "Invalid API key", "statusCode": 401})
        return False

    def _json(self, status: int, body: Any) -> None:
        self._answer(status, json.dumps(body).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def servers() -> Iterator[tuple[StandIn, World]]:
    made = StandIn(), World()
    for server in made:
        serve = {"poll_interval": 0.01}
        Thread(target=server.serve_forever, kwargs=serve, daemon=True).start()
    yield made
    for server in made:
        server.shutdown()
        server.server_close()


def run(source: StandIn, darkroom: World) -> int:
    try:
        immich(ALBUM, source.url, "immich-key", "fast", "{}", darkroom.url, "key", 60)
    except typer.Exit as ended:
        return ended.exit_code
    return 0


def test_an_album_is_restored_and_results_are_stacked(
    servers: tuple[StandIn, World], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each beside its photo; what is a result itself is left alone, and one bad photo
    costs no other.
    """
    source, darkroom = servers
    darkroom.refused = {"broken"}
    assert run(source, darkroom) == 1
    told = capsys.readouterr().out
    assert "grandma.jpg: restored" in told
    assert "broken.jpg: rejected" in told
    assert "\x1b" not in told
    assert "grandma-restored.png:" not in told
    changes = [one for one in source.sent if "search" not in one[0]]
    assert [path for path, _ in changes] == [
        "/api/assets",
        "/api/stacks",
        f"/api/albums/{ALBUM}/assets",
    ] * 2
    form, stack, album = (body for _, body in changes[:3])
    assert RESULT in form
    assert b'filename="grandma-restored.png"' in form
    assert b"1931-05-04T03:02:01.000Z" in form
    assert json.loads(stack) == {"assetIds": [ADDED, asset(0, "")["id"]]}
    assert json.loads(album) == {"ids": [ADDED]}


def test_a_second_time_changes_nothing(
    servers: tuple[StandIn, World], capsys: pytest.CaptureFixture[str]
) -> None:
    source, darkroom = servers
    source.known = True
    assert run(source, darkroom) == 0
    assert "was there already" in capsys.readouterr().out
    paths = {path for path, _ in source.sent}
    assert paths == {"/api/search/metadata", "/api/assets"}


def test_a_refusal_says_what_the_key_needs(servers: tuple[StandIn, World]) -> None:
    source, _ = servers
    with Immich(source.url, "wrong") as client, pytest.raises(SettingsError) as caught:
        list(client.photos(ALBUM))
    assert "stack.create" in caught.value.detail
    assert "wrong" not in str(caught.value)
