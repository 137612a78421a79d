"""A real worker whose disk, or whose store, is full: photos wait, none is lost, none
has failed, no attempt counts.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from handlers.context import Context
from handlers.intake.notifications import UploadEvent
from handlers.on_upload import on_upload
from shared.broker.dead_letters import letters
from shared.errors import NotFound
from shared.runtime.settings import Settings
from shared.uploads import keys
from shared.uploads.documents import Record
from tests.support.client import photo
from tests.support.databases import corner
from tests.support.full_disk import tiny_disk
from tests.support.waiting import eventually

DISK = 1 << 20
FULL = b"<?xml version='1.0'?><Error><Code>InsufficientStorage</Code><Message>full</Message></Error>"


@pytest.fixture
def ctx(servers: Any) -> Context:
    """On the real servers, with a corner of the broker of this test's own."""
    own: dict[str, Any] = {
        "broker_url": corner(servers.settings),
        "pepper": uuid4().hex,
        "default_workflow": "fast",
        "lease_s": 20.0,
    }
    return Context.of(Settings.model_validate(servers.settings.model_dump() | own))


class Worker:
    """A worker process; its log lines as they come. `ends`: the status with which it
    has to end.
    """

    def __init__(self, ctx: Context, ends: int = 0, **changes: Any) -> None:
        self._ends = ends
        chosen = {
            name: value
            for name, value in ctx.settings
            if value != Settings.model_fields[name].default
        }
        given = chosen | changes
        env = (
            os.environ
            | Settings.given(**given).variables()
            | {"DARKROOM_LOG_FORMAT": "json"}
        )
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gpu_worker"], env=env, stderr=subprocess.PIPE
        )
        self.events: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        eventually(lambda: self.said("process.started"), "the worker's start", 120)

    def said(self, event: str) -> list[dict[str, Any]]:
        return [line for line in list(self.events) if line["event"] == event]

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            if line.startswith(b"{"):
                self.events.append(json.loads(line))

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, fault: type[BaseException] | None, *_: object) -> None:
        if fault:
            # What the worker said is the first question of whoever reads the failure.
            for line in self.events[-40:]:
                print(json.dumps(line))
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(120)
        finally:
            self.process.kill()
            self._reader.join()
            assert self.process.stderr
            self.process.stderr.close()
        assert status == self._ends


def upload(ctx: Context, width: int, height: int) -> str:
    """A photo that the handler queued; its task."""
    key = f"pressure/{uuid4()}.png"
    ctx.store.put(
        ctx.settings.bucket_uploads,
        key,
        photo(width, height),
        "image/png",
        {"user": "ann"},
    )
    task_id = on_upload(
        UploadEvent(ctx.settings.bucket_uploads, key, "create"), ctx
    ).task_id
    assert task_id
    return task_id


def record(ctx: Context, task_id: str) -> Record | None:
    try:
        return Record.from_bytes(
            ctx.store.read(ctx.settings.bucket_results, keys.record(task_id)), task_id
        )
    except NotFound:
        return None


@contextmanager
def full_disk(folder: Path) -> Iterator[Callable[[int], None]]:
    """A disk with 32 KiB left; what is yielded makes room, given the worker's pid."""
    with tiny_disk(folder, DISK):
        if folder.is_mount():
            (folder / "ballast").write_bytes(bytes(DISK - (32 << 10)))
            yield lambda _: (folder / "ballast").unlink()
        # without a disk of our own the worker is limited, and the limit is lifted
        else:
            resource.setrlimit(
                resource.RLIMIT_FSIZE,
                (32 << 10, resource.getrlimit(resource.RLIMIT_FSIZE)[1]),
            )
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            yield (
                lambda pid: (
                    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard)) and None
                )
            )


def test_a_full_disk_defers_what_needs_room_and_nothing_else(
    ctx: Context, tmp_path: Path
) -> None:
    """The big photo waits in the worker, a small one behind it is restored; with room
    again the big one is, too.
    """
    with (
        full_disk(tmp_path / "scratch") as make_room,
        Worker(
            ctx, scratch_dir=tmp_path / "scratch", scratch_threshold_bytes=5_000
        ) as worker,
    ):
        big = upload(ctx, 60, 60)
        eventually(
            lambda: worker.said("task.deferred"), "the big photo's deferral", 120
        )
        small = upload(ctx, 8, 8)
        done = eventually(lambda: record(ctx, small), "the small photo", 120)
        assert record(ctx, big) is None
        assert {path.name for path in (tmp_path / "scratch").iterdir()} <= {"ballast"}
        make_room(worker.process.pid)
        late = eventually(lambda: record(ctx, big), "the big photo", 120)
        deferred, failed = (
            worker.said("task.deferred"),
            worker.said("task.failed") + worker.said("task.retried"),
        )
    print(
        f"FAULT=F19 injected={len(deferred)} lost=0 attempts={late.attempts} dead={len(letters(ctx.settings))}"
    )
    assert (done.attempts, late.attempts, failed, letters(ctx.settings)) == (
        1,
        1,
        [],
        [],
    )
    assert "DARKROOM_SCRATCH_DIR" in deferred[0]["detail"]


class Front(BaseHTTPRequestHandler):
    """Hands requests on to the store; while it is full it refuses every PUT."""

    protocol_version = "HTTP/1.1"
    store = ""
    full = threading.Event()
    refused = 0

    def _hand_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.command == "PUT" and self.full.is_set():
            type(self).refused += 1
            return self._answer(507, {"Content-Type": "application/xml"}, FULL)
        headers = {
            name: value
            for name, value in self.headers.items()
            if name.lower() != "expect"
        }
        with closing(HTTPConnection(self.store, timeout=30)) as upstream:
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            kept = {
                name: value
                for name, value in answer.getheaders()
                if name.lower() not in ("transfer-encoding", "connection")
            }
            return self._answer(answer.status, kept, answer.read())

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _hand_on

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def front(ctx: Context) -> Iterator[str]:
    """The address of a store that can be full."""
    Front.store = urlsplit(ctx.settings.s3_endpoint_url).netloc
    server = ThreadingHTTPServer(("127.0.0.1", 0), Front)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_full_store_defers_every_photo(ctx: Context, front: str) -> None:
    """Writes are refused with 507: the worker waits, and when there is room again every
    photo is restored, once.
    """
    Front.full.set()
    with Worker(ctx, s3_endpoint_url=front) as worker:
        tasks = [upload(ctx, 8 + number, 8) for number in range(5)]
        eventually(lambda: len(worker.said("service.lost")) >= 3, "refusals", 120)
        assert [record(ctx, task) for task in tasks] == [None] * 5
        assert Front.refused >= 3
        Front.full.clear()
        done = [
            eventually(lambda task=task: record(ctx, task), "a photo", 120)
            for task in tasks
        ]  # type: ignore[misc]
        eventually(
            lambda: worker.said("service.back"), "the end of the outage in the log", 120
        )
        failed = worker.said("task.failed") + worker.said("task.retried")
    print(
        f"FAULT=F18 injected={Front.refused} uploads=5 results=5 lost=0 dead={len(letters(ctx.settings))}"
    )
    assert ([one.attempts for one in done], failed, letters(ctx.settings)) == (
        [1] * 5,
        [],
        [],
    )
