"""`models pull` against a real HTTP server: resumed, verified, atomic, from a mirror or
a folder.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr

from gpu_worker import models
from gpu_worker.models import pull
from shared.errors import (
    Code,
    NotFound,
    PermanentError,
    SettingsError,
    StorageUnavailable,
)
from shared.models import Model, ModelFile
from shared.runtime.settings import Settings

CONTENT = bytes(range(256)) * 12_000


class FileServer(ThreadingHTTPServer):
    """Serves one file with byte ranges; `break_after` bytes the connection of the next
    answer is cut; a `token` is asked for; `sends_to` is another address of the file.
    """

    def __init__(self, content: bytes, ranges: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content, self.ranges = content, ranges
        self.break_after: int | None = None
        self.asked: list[tuple[str, str | None]] = []
        self.token, self.sends_to = "", ""
        self.shown: list[str | None] = []

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        self.server.shown.append(self.headers.get("Authorization"))
        if self.server.token and self.server.shown[-1] != f"Bearer {self.server.token}":
            self.send_error(401)
            return
        if self.server.sends_to:
            self.send_response(302)
            self.send_header("Location", self.server.sends_to)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path == "/missing.pth":
            self.send_error(404)
            return
        start = (
            int(wanted.removeprefix("bytes=").rstrip("-"))
            if wanted and self.server.ranges
            else 0
        )
        if start >= len(self.server.content):
            self.send_error(416)
            return
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.break_after])
        self.server.break_after = None

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(server: FileServer) -> Iterator[FileServer]:
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(FileServer(CONTENT)) as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(models_dir=tmp_path / "models")


def toy(
    url: str | None, content: bytes = CONTENT, size: int | None = len(CONTENT)
) -> Model:
    file = ModelFile(
        role="weights",
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=size,
        path="toy.pth",
        url=url,
    )
    return Model(
        name="toy", architecture="auto", title="Toy", licence="none", files=[file]
    )


def pulled(model: Model, settings: Settings) -> bytes:
    pull.pull(model, settings, io.StringIO())
    return models.locate(model, "weights", settings).read_bytes()


def test_a_model_is_pulled_and_verified(server: FileServer, settings: Settings) -> None:
    """The file lies in the models folder under its name, and nothing beside it."""
    model = toy(server.url("toy.pth"))
    assert pulled(model, settings) == CONTENT
    models.verify(model, settings)
    assert [path.name for path in settings.models_dir.iterdir()] == ["toy.pth"]


def test_a_model_that_is_there_is_not_pulled_again(
    server: FileServer, settings: Settings
) -> None:
    """Its checksum is enough."""
    model = toy(server.url("toy.pth"))
    pulled(model, settings)
    pulled(model, settings)
    assert len(server.asked) == 1


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_broken_download_goes_on_where_it_broke(
    server: FileServer, settings: Settings, size: int | None
) -> None:
    """The second run asks for the rest only; until then the name does not exist."""
    server.break_after = 1_000_000
    model = toy(server.url("toy.pth"), size=size)
    with pytest.raises(StorageUnavailable, match="again"):
        pulled(model, settings)
    assert not models.is_present(model, settings)
    assert pulled(model, settings) == CONTENT
    assert server.asked[1] == ("/toy.pth", "bytes=1000000-")


def test_a_server_without_ranges_is_read_from_the_start(
    server: FileServer, settings: Settings
) -> None:
    """Its whole answer must not be appended to the part."""
    server.ranges = False
    server.break_after = 1_000_000
    model = toy(server.url("toy.pth"))
    with pytest.raises(StorageUnavailable):
        pulled(model, settings)
    assert pulled(model, settings) == CONTENT


def test_what_goes_on_beyond_its_size_does_not_fill_the_disk(
    server: FileServer, settings: Settings
) -> None:
    server.content = CONTENT * 9
    with pytest.raises(PermanentError, match="expected") as caught:
        pulled(toy(server.url("toy.pth")), settings)
    whole = hashlib.sha256(server.content).hexdigest()
    assert whole not in str(caught.value)


def test_other_bytes_are_refused_and_removed(
    server: FileServer, settings: Settings
) -> None:
    """The error names both checksums; the next pull starts anew."""
    server.content = CONTENT[:-1] + b"!"
    model = toy(server.url("toy.pth"))
    with pytest.raises(PermanentError, match=model.sha256) as caught:
        pulled(model, settings)
    assert caught.value.code == Code.MODEL_CORRUPT
    assert list(settings.models_dir.iterdir()) == []
    server.content = CONTENT
    assert pulled(model, settings) == CONTENT


def test_a_part_longer_than_the_file_is_thrown_away(
    server: FileServer, settings: Settings
) -> None:
    """It cannot be the beginning of this file."""
    settings.models_dir.mkdir()
    (settings.models_dir / "toy.pth.part").write_bytes(CONTENT + b"more")
    assert pulled(toy(server.url("toy.pth")), settings) == CONTENT


def test_a_corrupt_file_is_replaced(server: FileServer, settings: Settings) -> None:
    """Pull repairs what verify refuses."""
    settings.models_dir.mkdir()
    (settings.models_dir / "toy.pth").write_bytes(b"damaged")
    assert pulled(toy(server.url("toy.pth")), settings) == CONTENT


def test_a_missing_file_says_where(server: FileServer, settings: Settings) -> None:
    """The URL is in the error."""
    with pytest.raises(StorageUnavailable, match=server.url("missing.pth")):
        pulled(toy(server.url("missing.pth")), settings)


def test_a_mirror_takes_the_place_of_the_file_s_own_url(
    server: FileServer, settings: Settings
) -> None:
    """For sites that reach nothing else."""
    inside = settings.model_copy(update={"models_mirror": server.url("mirror/")})
    assert pulled(toy("https://unreachable.invalid/toy.pth"), inside) == CONTENT
    assert server.asked == [("/mirror/toy.pth", None)]


def test_a_mirror_may_ask_for_a_token(server: FileServer, settings: Settings) -> None:
    """Without it the error names the setting."""
    server.token = "t0ken"
    mirror = settings.model_copy(update={"models_mirror": server.url("")})
    with pytest.raises(StorageUnavailable, match="DARKROOM_MODELS_MIRROR_TOKEN"):
        pulled(toy(None), mirror)
    known = mirror.model_copy(update={"models_mirror_token": SecretStr("t0ken")})
    assert pulled(toy(None), known) == CONTENT


@pytest.mark.parametrize("token", ["t0ken\n", "t0kén"])
def test_a_token_that_no_header_can_hold_is_in_no_error(
    server: FileServer, settings: Settings, token: str
) -> None:
    given = {"models_mirror": server.url(""), "models_mirror_token": SecretStr(token)}
    with pytest.raises(SettingsError, match="DARKROOM_MODELS_MIRROR_TOKEN") as refused:
        pulled(toy(None), settings.model_copy(update=given))
    assert token[:3] not in str(refused.value)


@pytest.mark.parametrize("is_mirror", [True, False])
def test_no_other_address_is_shown_the_token(
    server: FileServer, settings: Settings, is_mirror: bool
) -> None:
    """Neither the file's own, nor the one to which a mirror sends."""
    token = {"models_mirror_token": SecretStr("t0ken")}
    with serving(FileServer(CONTENT)) as mirror:
        mirror.sends_to = server.url("toy.pth")
        place = {"models_mirror": mirror.url("")} if is_mirror else {}
        asking = settings.model_copy(update=token | place)
        assert pulled(toy(server.url("toy.pth")), asking) == CONTENT
        assert mirror.shown == (["Bearer t0ken"] if is_mirror else [])
    assert server.shown == [None]


def test_a_password_in_an_address_is_in_no_error(
    server: FileServer, settings: Settings
) -> None:
    address = server.url("").replace("http://", "http://me:s3cret@")
    mirror = settings.model_copy(update={"models_mirror": address})
    server.token = "t0ken"
    with pytest.raises(StorageUnavailable) as refused:
        pulled(toy(None), mirror)
    assert "s3cret" not in str(refused.value)
    assert server.url("toy.pth") in str(refused.value)


def test_a_folder_is_a_mirror_too(tmp_path: Path, settings: Settings) -> None:
    """For sites that reach nothing at all; a file it lacks is named."""
    (tmp_path / "toy.pth").write_bytes(CONTENT)
    offline = settings.model_copy(update={"models_mirror": str(tmp_path)})
    assert pulled(toy(None), offline) == CONTENT
    (tmp_path / "toy.pth").unlink()
    (settings.models_dir / "toy.pth").unlink()
    with pytest.raises(NotFound, match=r"toy\.pth"):
        pulled(toy(None), offline)
