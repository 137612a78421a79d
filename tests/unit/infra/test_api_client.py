"""`darkroom submit --api` and an API that cannot be trusted: which links are followed,
what is kept of an answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from infra.api_client import Api
from shared.errors import PermanentError

RESULT = b"the restored photo"


class World(ThreadingHTTPServer):
    """An API, a store or somebody else: each answers all, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.link, self.store, self.sha256 = (
            "",
            self.url,
            hashlib.sha256(RESULT).hexdigest(),
        )
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: World

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path.endswith("/result"):
            self.send_response(307)
            self.send_header("location", self.server.link)
            self.send_header("content-length", "0")
            self.end_headers()
            return
        record = json.dumps({"result_sha256": self.server.sha256}).encode()
        self._answer(record if self.path.endswith("/record") else RESULT)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        form = {"url": f"{self.server.store}/uploads", "fields": {"key": "k"}}
        self._answer(json.dumps({"ticket": "t", "post": form}).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def worlds() -> Iterator[list[World]]:
    """The API, the store, somebody else."""
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
def sent(worlds: list[World], tmp_path: Path) -> Api:
    """A client whose photo the store took."""
    api, store, _ = worlds
    api.store = store.url
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"damaged")
    client = Api(api.url, "key", patience_s=60)
    client.send(photo, {})
    return client


@pytest.mark.parametrize(
    "link",
    ["{store}/results/photo.png", "{api}/results/photo.png", "/results/photo.png"],
)
def test_a_link_to_the_store_of_the_ticket_or_to_the_api_is_followed(
    worlds: list[World], sent: Api, tmp_path: Path, link: str
) -> None:
    """The result is there, whole, under its name."""
    api, store, _ = worlds
    api.link = link.format(store=store.url, api=api.url)
    sent.save("task", tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes() == RESULT


def test_a_link_to_anybody_else_is_not(
    worlds: list[World], sent: Api, tmp_path: Path
) -> None:
    """Such as a service inside this network, which the API itself cannot reach: nobody
    is asked, nothing is kept.
    """
    api, _, other = worlds
    api.link = f"{other.url}/latest/meta-data"
    with pytest.raises(PermanentError, match=other.url):
        sent.save("task", tmp_path / "out.png")
    assert other.asked == []
    assert not list(tmp_path.glob("out*"))


def test_a_result_that_is_not_the_records_is_not_kept(
    worlds: list[World], sent: Api, tmp_path: Path
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
