"""The client and an API that cannot be trusted: which links are followed, what is kept
of an answer; what becomes of a refusal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import pytest

from infra.client import DarkroomClient
from shared.errors import (
    Code,
    DarkroomError,
    NotFound,
    PermanentError,
    SettingsError,
    TransientError,
)

RESULT = b"the restored photo"
DETAIL = "the API's own sentence"


class Refusal(NamedTuple):
    """One answer of the API that is a problem document."""

    status: int
    code: str
    retry_after: str = ""


class World(ThreadingHTTPServer):
    """An API, a store or a stranger: each answers all, and keeps what was requested."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.link = ""
        self.store = self.url
        self.sha256 = hashlib.sha256(RESULT).hexdigest()
        self.requests: list[str] = []
        self.refusals: list[Refusal] = []


class Handler(BaseHTTPRequestHandler):
    server: World

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        if self.server.refusals:
            refusal = self.server.refusals.pop(0)
            problem = {"code": refusal.code, "detail": DETAIL}
            headers = {"retry-after": refusal.retry_after}
            self._answer(json.dumps(problem).encode(), refusal.status, headers)
        elif self.path.endswith("/result"):
            self._answer(b"", 307, {"location": self.server.link})
        elif self.path.endswith("/record"):
            record = {"result_sha256": self.server.sha256}
            self._answer(json.dumps(record).encode())
        elif "/v1/uploads/" in self.path:
            self._answer(json.dumps({"status": "queued"}).encode())
        else:
            self._answer(RESULT)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        form = {"url": f"{self.server.store}/uploads", "fields": {"key": "k"}}
        self._answer(json.dumps({"ticket": "t", "post": form}).encode())

    def _answer(
        self, body: bytes, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def worlds() -> Iterator[list[World]]:
    """The API, the store, a stranger."""
    made = [World(), World(), World()]
    for world in made:
        Thread(
            target=world.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()
    yield made
    for world in made:
        world.shutdown()
        world.server_close()


@pytest.fixture
def sent(worlds: list[World], tmp_path: Path) -> DarkroomClient:
    """A client whose photo the store took."""
    api, store, _ = worlds
    api.store = store.url
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"damaged")
    client = DarkroomClient(api.url, "key")
    client.submit(photo)
    return client


@pytest.mark.parametrize(
    "link",
    ["{store}/results/photo.png", "{api}/results/photo.png", "/results/photo.png"],
)
def test_a_link_to_the_store_of_the_ticket_or_to_the_api_is_followed(
    worlds: list[World], sent: DarkroomClient, tmp_path: Path, link: str
) -> None:
    """The result is there, whole, under its name."""
    api, store, _ = worlds
    api.link = link.format(store=store.url, api=api.url)
    sent.save("task", tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes() == RESULT


def test_a_link_to_a_stranger_is_not(
    worlds: list[World], sent: DarkroomClient, tmp_path: Path
) -> None:
    """Such as a service inside this network, which the API itself cannot reach: no
    request is sent, nothing is kept.
    """
    api, _, other = worlds
    api.link = f"{other.url}/latest/meta-data"
    with pytest.raises(PermanentError, match=other.url):
        sent.save("task", tmp_path / "out.png")
    assert other.requests == []
    assert not list(tmp_path.glob("out*"))


def test_a_result_that_is_not_the_records_is_not_kept(
    worlds: list[World], sent: DarkroomClient, tmp_path: Path
) -> None:
    """Damaged on its way, or another one: said, and no file of that name remains."""
    api, store, _ = worlds
    api.link, api.sha256 = (
        f"{store.url}/results/photo.png",
        hashlib.sha256(b"another").hexdigest(),
    )
    with pytest.raises(PermanentError, match="record"):
        sent.save("task", tmp_path / "out.png")
    assert not list(tmp_path.glob("out*"))


def test_the_store_of_uploads_by_others_is_trusted_where_it_is_named(
    worlds: list[World],
) -> None:
    """A client that uploaded nothing knows no store but the one that it was given."""
    api, store, _ = worlds
    api.link = f"{store.url}/results/photo.png"
    with pytest.raises(PermanentError, match=store.url):
        DarkroomClient(api.url, "key").result("task")
    assert DarkroomClient(api.url, "key", store_url=store.url).result("task") == RESULT


def test_a_busy_api_gets_the_request_again(worlds: list[World]) -> None:
    """As often as it says when to come again, within `retry_s`."""
    api = worlds[0]
    api.refusals = [Refusal(503, "busy", "0"), Refusal(429, "busy", "0")]
    assert DarkroomClient(api.url, "key").state("t").status == "queued"
    assert len(api.requests) == 3


@pytest.mark.parametrize(
    ("refusal", "error", "code"),
    [
        (Refusal(404, "not_found"), NotFound, Code.SOURCE_MISSING),
        (Refusal(422, "bad_parameter"), SettingsError, Code.SETTINGS),
        (Refusal(429, "busy", "9"), SettingsError, Code.SETTINGS),
        (
            Refusal(503, "database_unavailable", "9"),
            TransientError,
            Code.DATABASE_UNAVAILABLE,
        ),
        (Refusal(500, "no code of ours"), TransientError, Code.INTERNAL),
    ],
)
def test_a_refusal_is_an_error_with_the_sentence_of_the_api(
    worlds: list[World], refusal: Refusal, error: type[DarkroomError], code: Code
) -> None:
    api = worlds[0]
    api.refusals = [refusal]
    with pytest.raises(error, match=DETAIL) as raised:
        DarkroomClient(api.url, "key", retry_s=0).task("id")
    assert raised.value.code == code
    assert len(api.requests) == 1


def test_an_upload_that_does_not_end_in_time_is_an_error(worlds: list[World]) -> None:
    with pytest.raises(TransientError, match="queued"):
        DarkroomClient(worlds[0].url, "key").wait("t", timeout_s=0)
