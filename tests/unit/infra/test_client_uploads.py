"""A large file in parts, the async twin, and many photos at once, against an API and a
store that keep what they are sent.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from infra.async_client import AsyncDarkroomClient
from infra.client import DarkroomClient
from infra.client_batches import restore
from shared.errors import PermanentError, TransientError

RESULT = b"the restored photo"
PART_BYTES = 1000


class World(ThreadingHTTPServer):
    """An API and a store in one. `parts`: what has arrived, by number."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.parts: dict[int, bytes] = {}
        self.puts: list[int] = []
        self.broken: set[int] = set()
        self.completed = b""
        self.is_multipart = False
        self.refused: set[str] = set()

    def multipart(self, size: int) -> dict[str, Any]:
        parts = []
        for number, start in enumerate(range(0, size, PART_BYTES), 1):
            part = {
                "number": number,
                "bytes": min(PART_BYTES, size - start),
                "url": f"{self.url}/part/{number}",
                "etag": f'"{number}"' if number in self.parts else None,
            }
            parts.append(part)
        complete = f"{self.url}/complete"
        return {"upload_id": "u", "parts": parts, "complete": complete, "abort": "a"}


class Handler(BaseHTTPRequestHandler):
    server: World

    def do_GET(self) -> None:
        world = self.server
        if self.path.endswith("/record"):
            digest = hashlib.sha256(RESULT).hexdigest()
            self._answer(json.dumps({"result_sha256": digest}).encode())
        elif self.path.endswith("/result"):
            self._answer(b"", 307, {"location": f"{world.url}/file"})
        elif "/v1/uploads/" in self.path:
            name = self.path.rpartition("/")[2]
            is_waiting = world.is_multipart and not world.completed
            status = "waiting" if is_waiting else "success"
            if name in world.refused:
                status = "rejected"
            self._answer(json.dumps({"status": status, "task_id": name}).encode())
        else:
            self._answer(RESULT)

    def do_POST(self) -> None:
        world = self.server
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/v1/uploads":
            asked = json.loads(body)
            ticket = asked["filename"].partition(".")[0]
            issued: dict[str, Any] = {"ticket": ticket}
            issued["post"] = {"url": f"{world.url}/form", "fields": {}}
            if world.is_multipart:
                issued["multipart"] = world.multipart(asked["bytes"])
            self._answer(json.dumps(issued).encode(), 201)
        elif self.path == "/complete":
            numbers = [int(one) for one in re.findall(rb"<PartNumber>(\d+)<", body)]
            world.completed = b"".join(world.parts[number] for number in numbers)
            self._answer(b"<Done/>")
        else:
            self._answer(b"", 201)

    def do_PUT(self) -> None:
        world = self.server
        number = int(self.path.rpartition("/")[2])
        body = self.rfile.read(int(self.headers["content-length"]))
        world.puts.append(number)
        if number in world.broken:
            self._answer(b"", 403)
            return
        world.parts[number] = body
        self._answer(b"", 200, {"etag": f'"{number}"'})

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
def world() -> Iterator[World]:
    made = World()
    serve = {"poll_interval": 0.01}
    Thread(target=made.serve_forever, kwargs=serve, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def photo(folder: Path, name: str = "photo.png", size: int = 2500) -> Path:
    path = folder / name
    path.write_bytes(bytes(number % 251 for number in range(size)))
    return path


def test_a_large_file_goes_in_parts_and_goes_on(world: World, tmp_path: Path) -> None:
    """What broke off goes on with the parts that have not arrived; a file that is there
    is not sent again.
    """
    world.is_multipart, world.broken = True, {2}
    path = photo(tmp_path)
    told: list[tuple[int, int]] = []

    def progress(sent: int, size: int) -> None:
        told.append((sent, size))

    with DarkroomClient(world.url, "key") as client:
        with pytest.raises(PermanentError, match="refused"):
            client.submit(path, progress=progress)
        assert told == [(1000, 2500)]
        world.broken.clear()
        client.submit(path, progress=progress)
        assert world.puts == [1, 2, 2, 3]
        assert told[1:] == [(1000, 2500), (2000, 2500), (2500, 2500)]
        assert world.completed == path.read_bytes()
        client.submit(path)
        assert world.puts == [1, 2, 2, 3]


def test_a_small_file_tells_of_its_progress_too(world: World, tmp_path: Path) -> None:
    path = photo(tmp_path, size=300_000)
    told = []
    with DarkroomClient(world.url, "key") as client:
        client.submit(path, progress=lambda sent, size: told.append(sent))
    assert told == sorted(told)
    assert told[-1] == 300_000


def test_the_async_twin_goes_the_same_way(world: World, tmp_path: Path) -> None:
    """Many waits at once, and the same errors."""
    paths = [photo(tmp_path, f"p{number}.png") for number in range(20)]

    async def run() -> list[str | None]:
        async with AsyncDarkroomClient(world.url, "key") as client:
            tickets = await asyncio.gather(*(client.submit(path) for path in paths))
            states = await asyncio.gather(*(client.wait(one) for one in tickets))
            await client.save("p1", tmp_path / "out.png")
            world.is_multipart = True
            with pytest.raises(TransientError, match="waiting"):
                await client.wait("p2", timeout_s=0)
            return [state.task_id for state in states]

    assert asyncio.run(run()) == [f"p{number}" for number in range(20)]
    assert (tmp_path / "out.png").read_bytes() == RESULT


def test_one_bad_photo_of_many_costs_no_other(world: World, tmp_path: Path) -> None:
    world.refused = {"p1"}
    paths = [photo(tmp_path, f"p{number}.png") for number in range(5)]
    paths.append(tmp_path / "missing.png")
    with DarkroomClient(world.url, "key") as client:
        done = {each.path: each for each in restore(client, paths, tmp_path / "out")}
    assert set(done) == set(paths)
    assert isinstance(done[paths[5]].error, FileNotFoundError)
    assert done[paths[1]].saved_as is None
    for path in (paths[0], *paths[2:5]):
        saved_as = done[path].saved_as
        assert saved_as == tmp_path / "out" / f"{path.stem}-restored.png"
        assert saved_as.read_bytes() == RESULT
