"""F16: the store is killed while it receives a result and a part of an original; half
of each has arrived.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from http.client import HTTPConnection, HTTPException
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, cast
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from handlers.context import Context
from handlers.on_sweep import on_sweep
from infra.bootstrap import reachable
from shared.broker.dead_letters import letters
from shared.errors import NotFound
from shared.runtime.settings import Settings
from shared.s3.store import S3Store
from shared.uploads import keys
from shared.uploads.documents import Record
from tests.support.running_servers import Running
from tests.support.waiting import eventually
from tests.system.test_worker_pressure import Front, Worker, record, upload

PART = 6 << 20
SHORT: dict[str, Any] = {
    "default_workflow": "fast",
    "lease_s": 60.0,
    "multipart_max_age_s": 1.0,
    "upload_expires_s": 1.0,
}


class Cutting(Front):
    """Hands on half of a result and half of a second part, and waits; when it is shut
    it hangs up on everybody.
    """

    half_way: ClassVar[set[str]] = set()
    shut = threading.Event()

    def _pass(self) -> None:
        if self.shut.is_set():
            self.close_connection = True
            return
        try:
            if kind := self._victim():
                self._half(kind)
            else:
                self._hand_on()
        except (OSError, HTTPException):  # the store was killed meanwhile
            self.close_connection = True

    def _victim(self) -> str:
        if self.command != "PUT" or len(self.half_way) == 2:
            return ""
        return (
            "part"
            if "partNumber=2" in self.path
            else "result"
            if "/processed/" in self.path
            else ""
        )

    def _half(self, kind: str) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with closing(HTTPConnection(self.store, timeout=60)) as upstream:
            upstream.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                if name.lower() != "expect":
                    upstream.putheader(name, value)
            upstream.endheaders()
            upstream.send(body[: len(body) // 2])
            self.half_way.add(kind)
            self.shut.wait()
        self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass


@pytest.fixture
def running(state_dir: Callable[[str], Path]) -> Iterator[Running]:
    """Servers that may be killed, under their supervisor."""
    running = Running(state_dir("killed")).start()
    yield running
    assert running.stop() == 0


@pytest.fixture
def front(running: Running) -> Iterator[str]:
    Cutting.store = urlsplit(running.settings.s3_endpoint_url).netloc
    Cutting.half_way.clear()
    Cutting.shut.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Cutting)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    Cutting.shut.set()
    server.shutdown()
    server.server_close()


class Parts:
    """A client that uploads an original in two parts, and tries a part again that got
    no answer.
    """

    def __init__(self, settings: Settings, bucket: str, key: str) -> None:
        self.client = S3Store(settings).client
        self.place: Any = {"Bucket": bucket, "Key": key}
        self.place["UploadId"] = self.client.create_multipart_upload(**self.place)[
            "UploadId"
        ]
        self.data = os.urandom(2 * PART)
        self.etags: dict[int, str] = {}

    def send(self, number: int) -> bool:
        body = self.data[(number - 1) * PART : number * PART]
        try:
            self.etags[number] = self.client.upload_part(
                **self.place, PartNumber=number, Body=body
            )["ETag"]
        except (ClientError, BotoCoreError):
            return False
        return True

    def send_until_there(self, number: int) -> None:
        while not self.send(number):
            time.sleep(0.1)

    def arrived(self, direct: S3Store) -> list[int]:
        return [
            part["PartNumber"]
            for part in direct.client.list_parts(**self.place).get("Parts", [])
        ]

    def complete(self) -> None:
        told: Any = {
            "Parts": [
                {"PartNumber": number, "ETag": etag}
                for number, etag in sorted(self.etags.items())
            ]
        }
        self.client.complete_multipart_upload(**self.place, MultipartUpload=told)


def is_there(store: S3Store, bucket: str, key: str) -> bool:
    try:
        store.head(bucket, key)
    except NotFound:
        return False
    return True


def test_a_store_that_dies_half_way_keeps_no_half(running: Running, front: str) -> None:
    """Nothing of either is seen; both are sent again and are whole; what a third left
    in parts goes with the sweep.
    """
    settings = Settings.model_validate(running.settings.model_dump() | SHORT)
    ctx, store = Context.of(settings), S3Store(settings)
    through = settings.model_copy(update={"s3_endpoint_url": front})
    original, result = (
        (settings.bucket_uploads, "scans/big.tif"),
        settings.bucket_results,
    )
    parts, left = (
        Parts(through, *original),
        Parts(through, settings.bucket_uploads, "scans/left.tif"),
    )
    assert parts.send(1)
    assert left.send(1)
    with Worker(ctx, s3_endpoint_url=front) as worker:
        task = upload(ctx, 200, 150)
        sending = threading.Thread(
            target=parts.send_until_there, args=(2,), daemon=True
        )
        sending.start()
        eventually(lambda: Cutting.half_way == {"part", "result"}, "both half way", 120)
        killed_s = time.monotonic()
        running.server("weed").kill()
        Cutting.shut.set()
        eventually(lambda: reachable(settings), "the store again", 180)
        assert eventually(lambda: parts.arrived(store), "its parts", 180) == [1]
        assert not is_there(store, *original)
        assert not is_there(store, result, keys.result(task))
        assert not is_there(store, result, keys.record(task))
        Cutting.shut.clear()
        done = cast(Record, eventually(lambda: record(ctx, task), "the record", 180))
        recover_s = time.monotonic() - killed_s
        sending.join(120)
        assert not sending.is_alive()
        eventually(lambda: worker.said("task.restored"), "its end", 120)
    parts.complete()

    assert store.read(*original) == parts.data
    data = store.read(result, keys.result(task))
    assert (sha256(data).hexdigest(), len(data), done.attempts) == (
        done.result_sha256,
        done.result_bytes,
        1,
    )
    assert [
        len(worker.said(name))
        for name in ("task.begun", "task.restored", "task.retried")
    ] == [1, 1, 0]
    assert worker.said("service.lost")
    assert [each.key for each in store.unfinished(settings.bucket_uploads)] == [
        "scans/left.tif"
    ]
    report = on_sweep(replace(ctx, store=store))
    assert report.multiparts_ended == 1
    assert list(store.unfinished(settings.bucket_uploads)) == []
    found = sorted(
        info.key
        for prefix in ("processed/", "claims/")
        for info in store.list(result, prefix)
    )
    assert found == sorted([keys.result(task), keys.record(task)])
    assert letters(settings) == []
    print(f"FAULT=F16 injected=2 lost=0 partial=0 recover_s={recover_s:.1f}")
