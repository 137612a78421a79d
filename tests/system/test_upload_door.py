"""The handlers' process on real servers: from a PUT to the receipt, the message or the
quarantine.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from infra.local.stack import Stack
from shared.broker import topology
from shared.broker.depth import depth
from shared.broker.publisher import Publisher
from shared.errors import NotFound
from shared.s3.store import S3Store
from shared.uploads import keys
from shared.uploads.documents import Reason, Receipt
from shared.uploads.ref import upload_id_of
from tests.conftest import only_servers
from tests.support.brokers import free_port
from tests.support.waiting import eventually

KEYS = [
    "plain.jpg",
    "with blank.jpg",
    "a+b.jpg",
    "100%.jpg",
    "%2F%20.jpg",
    "#1?x=1&y=2.jpg",
    "中文/照片.jpg",
    "🖼️.jpg",
    "two//slashes.jpg",
    "e\u0301.jpg",
    "in.versions/v_1.jpg",
    ("é" * 100 + "/") * 5 + "e" * 19,
]


def photo(colour: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (32, 24), (colour % 256, colour // 256, 7)).save(out, "JPEG")
    return out.getvalue()


def event(key: str) -> dict[str, Any]:
    """As S3 and MinIO send it."""
    return {
        "Records": [
            {
                "eventName": "s3:ObjectCreated:Put",
                "s3": {"bucket": {"name": "uploads"}, "object": {"key": key}},
            }
        ]
    }


def s3(bucket: str, key: str, **more: str) -> bytes:
    record = {
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": key}},
        **more,
    }
    return json.dumps({"Records": [record]}).encode()


FORGED = '{"event": "task.restored", "forged": true}'
REFUSED = {
    "not JSON": b"<xml/>",
    "empty": b"",
    "10 MB": b" " * 10_000_000,
    "nested lists": b"[" * 100_000 + b"]" * 100_000,
    "nested objects": b'{"a":' * 100_000,
    "unknown version": s3("uploads", "a.png", eventVersion="99.0"),
    "half a surrogate": s3("uploads", "\ud800"),
    "a line of its own": f"\n{FORGED}\n".encode(),
}
NOWHERE = {
    "another bucket": s3("results", "a.png"),
    "upwards": s3("uploads", "../results/a.png"),
    "gone": s3("uploads", "x"),
    "a key with lines": s3("uploads", f"a\r\n{FORGED}\n.png"),
    "a key with NUL": s3("uploads", "a%00.png"),
    "a long key": s3("uploads", "x" * 5000),
}


class Handlers:
    """`python -m handlers http` beside the servers of this session."""

    def __init__(self, servers: Stack, folder: Path, **environment: str) -> None:
        self.settings = servers.settings
        self.store = S3Store(servers.settings)
        self.log = folder / "http.log"
        ready = folder / "ready"
        given = {
            "STATE_DIR": str(servers.settings.state_dir),
            "READY_FILE": str(ready),
            "DEFAULT_WORKFLOW": "fast",
            "METRICS_PORT": "0",
        }
        env = os.environ | {
            f"DARKROOM_{name}": value for name, value in (given | environment).items()
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "handlers", "http"], env=env, stderr=log
            )
        eventually(
            lambda: ready.exists() or self.process.poll() is not None, "the door", 120
        )
        assert self.process.poll() is None, self.log.read_text()
        self.figures = ready.read_text()

    def put(self, key: str, data: bytes, **metadata: str) -> str:
        """Upload; the id of the upload. This store takes two slashes for one."""
        self.store.put("uploads", key, data, "image/jpeg", metadata)
        return upload_id_of(self.store.head("uploads", key.replace("//", "/")))

    def receipt(self, ident: str) -> Receipt:
        return Receipt.from_bytes(
            eventually(
                lambda: self._read("results", keys.receipt(ident)), "the receipt", 120
            ),
            ident,
        )

    def reason(self, ident: str) -> Reason:
        return Reason.from_bytes(
            eventually(
                lambda: self._read("quarantine", keys.reason(ident)), "the reason", 120
            ),
            ident,
        )

    def _read(self, bucket: str, key: str) -> bytes | None:
        try:
            return self.store.read(bucket, key)
        except NotFound:
            return None


@pytest.fixture(scope="module")
def servers(state_dir: Callable[[str], Path]) -> Iterator[Stack]:
    """Of this module alone: the session's store tries for long to tell of what other
    tests have put there.
    """
    with only_servers(state_dir("door")) as running:
        yield running


@pytest.fixture(scope="module")
def handlers(
    servers: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Handlers]:
    running = Handlers(servers, tmp_path_factory.mktemp("handlers"))
    yield running
    running.process.terminate()
    assert running.process.wait(120) == 0, (
        "a process that is asked to leave leaves well"
    )


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_queued(handlers: Handlers, key: str) -> None:
    """Whatever the store accepts as a key, its notification finds the object again."""
    before = depth(handlers.settings)[topology.BULK]
    receipt = handlers.receipt(handlers.put(key, photo(KEYS.index(key))))
    assert receipt.decision == "queued"
    assert receipt.source.key == key.replace("//", "/")
    eventually(
        lambda: depth(handlers.settings)[topology.BULK] == before + 1,
        "the message",
        120,
    )


def test_metadata_choose_workflow_and_queue(handlers: Handlers) -> None:
    """As a client's SDK sends them, non-ASCII included."""
    before = depth(handlers.settings)
    order = {
        "workflow": "anime",
        "params": '{"scale": 2}',
        "priority": "interactive",
        "user": "J%C3%BCrg",
    }
    receipt = handlers.receipt(handlers.put("ordered.jpg", photo(100), **order))
    assert receipt.workflow
    assert (receipt.workflow.name, receipt.workflow.params["scale"]) == ("anime", 2.0)
    assert receipt.priority == "interactive"
    queue = topology.restore_queue("interactive", receipt.lane)
    assert receipt.lane > 0  # of somebody who has a name
    eventually(
        lambda: depth(handlers.settings)[queue] == before[queue] + 1, "the message", 120
    )


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("empty.jpg", b"", "empty_file"),
        ("a text.jpg", b"hello", "unsupported_format"),
        ("cut.jpg", photo(1)[:-9], "truncated"),
    ],
)
def test_bad_input_ends_in_quarantine(
    handlers: Handlers, name: str, data: bytes, code: str
) -> None:
    """With a reason and a copy made by the store; the upload stays where it is."""
    ident = handlers.put(f"bad/{name}", data)
    assert handlers.reason(ident).error_code == code
    assert handlers.store.read("quarantine", keys.quarantined(ident, name)) == data
    assert handlers.store.read("uploads", f"bad/{name}") == data


def test_an_overwritten_key_is_a_new_upload(handlers: Handlers) -> None:
    """The store tells of it as an update."""
    first = handlers.put("again.jpg", photo(200))
    assert handlers.receipt(first).decision == "queued"
    second = handlers.put("again.jpg", photo(201))
    assert first != second
    assert handlers.receipt(second).decision == "queued"


def test_results_never_trigger_darkroom(handlers: Handlers) -> None:
    """A photo in another bucket is no upload, however much it looks like one."""
    before = {info.key for info in handlers.store.list("results", "receipts/")}
    handlers.store.put("results", "processed/looks-like.png", photo(300), "image/png")
    last = handlers.put("after.jpg", photo(301))
    handlers.receipt(last)
    assert {
        info.key for info in handlers.store.list("results", "receipts/")
    } - before == {keys.receipt(last)}


def test_the_queue_door(handlers: Handlers) -> None:
    """Other stores' notifications arrive in the broker; what cannot be read is set
    aside with its reason.
    """
    settings = handlers.settings
    publisher = Publisher(settings)
    ident = handlers.put("by queue.jpg", photo(400))
    handlers.receipt(ident)
    # as if the store's own notification had been lost
    handlers.store.delete("results", keys.receipt(ident))
    publisher.publish(topology.UPLOADS, json.dumps(event("by+queue.jpg")).encode())
    publisher.publish(topology.UPLOADS, b"garbage")
    assert handlers.receipt(ident).decision == "queued"
    eventually(
        lambda: depth(settings)[topology.dead_queue(topology.UPLOADS)] == 1,
        "the dead message",
        120,
    )
    assert depth(settings)[topology.UPLOADS] == 0
    publisher.close()


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused(handlers: Handlers, name: str) -> None:
    """By a 4xx, which tells the sender not to come again."""
    assert 400 <= tell(handlers, REFUSED[name]) < 500


@pytest.mark.parametrize("name", NOWHERE)
def test_what_leads_nowhere_becomes_no_work(handlers: Handlers, name: str) -> None:
    before = [depth(handlers.settings)[queue] for queue in topology.RESTORE]
    assert tell(handlers, NOWHERE[name]) < 500
    assert [depth(handlers.settings)[queue] for queue in topology.RESTORE] == before


def test_nobody_writes_into_the_log(handlers: Handlers) -> None:
    """Whatever they send: every line is one of ours."""
    for body in (*REFUSED.values(), *NOWHERE.values()):
        tell(handlers, body)
    assert [
        line
        for line in handlers.log.read_text().splitlines()
        if json.loads(line).get("forged")
    ] == []


def tell(handlers: Handlers, body: bytes) -> int:
    """The status of the answer."""
    token = {
        "Authorization": f"Bearer {handlers.settings.webhook_token.get_secret_value()}"
    }
    return httpx2.post(
        f"{handlers.settings.api_url}/events/storage",
        content=body,
        headers=token,
        timeout=60,
    ).status_code


def test_health_and_readiness(handlers: Handlers) -> None:
    """Anybody may ask whether the door works; what and how much is told on a port of
    its own.
    """
    door = handlers.settings.api_url
    for url in (
        f"{door}/healthz",
        f"{door}/readyz",
        f"{handlers.figures}/healthz",
        f"{handlers.figures}/readyz",
    ):
        eventually(lambda url=url: httpx2.get(url, timeout=60).status_code == 200, url)  # type: ignore[misc]
    assert httpx2.get(f"{door}/readyz", timeout=60).json() == {"status": "ok"}
    assert httpx2.get(f"{handlers.figures}/readyz", timeout=60).json() == {
        "storage": "ok",
        "broker": "ok",
    }
    assert (
        "darkroom_uploads_total"
        in httpx2.get(f"{handlers.figures}/metrics", timeout=60).text
    )
    assert httpx2.get(f"{door}/metrics", timeout=60).status_code == 404


def test_a_crash_between_receipt_and_message(
    handlers: Handlers, servers: Stack, tmp_path: Path
) -> None:
    """The receipt is there and the message is not: what the sweep looks for."""
    port = free_port()
    # the second door must be the one that is told
    handlers.process.send_signal(signal.SIGSTOP)
    try:
        second = Handlers(
            servers, tmp_path, FAILPOINT="handler.before_publish:1", API_PORT=str(port)
        )
        before = depth(handlers.settings)[topology.BULK]
        ident = second.put("crash.jpg", photo(500))
        token = {
            "Authorization": f"Bearer {handlers.settings.webhook_token.get_secret_value()}"
        }
        with pytest.raises(httpx2.TransportError):
            httpx2.post(
                f"http://127.0.0.1:{port}/events/storage",
                json=event("crash.jpg"),
                headers=token,
                timeout=60,
            )
        assert second.process.wait(120) == -signal.SIGKILL
        assert second.receipt(ident).decision == "queued"
        assert depth(handlers.settings)[topology.BULK] == before
    finally:
        handlers.process.send_signal(signal.SIGCONT)
