"""The object store of compose.yaml, started by its own script with the `weed` of the
wheel instead of the image.
"""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import boto3
import httpx
import pytest
from pydantic import SecretStr

from infra.notifications import BucketNotifications
from shared.errors import SettingsError
from shared.runtime.settings import Settings
from tests.support import rights
from tests.support.brokers import free_port
from tests.support.waiting import eventually

SCRIPT = Path(__file__).parents[2] / "infra/docker/seaweedfs.sh"
DEADLINE_S = 180.0
CLIENT = {
    "uploads/a.png": rights.EVERYTHING,
    "uploads/users/u/t/photo": rights.EVERYTHING,
    **{
        place: {"get", "list"}
        for place in rights.PLACES
        if place.startswith(("results/", "quarantine/"))
    },
}
"""It puts photos and reads what became of them; nothing else."""
RIGHTS = rights.RIGHTS | {"client": CLIENT}
ROLES = tuple(RIGHTS)
BUCKETS = rights.BUCKETS


@dataclass
class ComposeStore:
    """The running server. `told`: (path, authorization, body) of every notification."""

    url: str
    master_url: str
    run_dir: Path
    process: subprocess.Popen[bytes]
    told: list[tuple[str, str | None, Any]] = field(default_factory=list)

    def client(self, role: str) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=f"darkroom-{role}",
            aws_secret_access_key=f"{role}-secret",
        )


def environment(tmp: Path, webhook_url: str) -> dict[str, str]:
    return {
        "PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
        "RUN_DIR": str(tmp / "run"),
        "DATA_DIR": str(tmp / "data"),
        "WEBHOOK_URL": webhook_url,
        "WEBHOOK_TOKEN": "the-token",
        **{f"S3_{role.upper()}_SECRET_KEY": f"{role}-secret" for role in ROLES},
        **{f"BUCKET_{name.upper()}": name for name in BUCKETS},
    }


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeStore]:
    tmp = tmp_path_factory.mktemp("compose-store")
    told: list[tuple[str, str | None, Any]] = []
    flags = [
        f"-{name}.port{kind}"
        for name in ("s3", "master", "volume", "filer")
        for kind in ("", ".grpc")
    ]
    ports = {flag: free_port() for flag in flags}
    command = [
        "sh",
        str(SCRIPT),
        "-s3.ip.bind=127.0.0.1",
        *(f"{flag}={port}" for flag, port in ports.items()),
    ]
    with receiver(told) as webhook_url, (tmp / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env=environment(tmp, webhook_url),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        running = ComposeStore(
            f"http://127.0.0.1:{ports['-s3.port']}",
            f"http://127.0.0.1:{ports['-master.port']}",
            tmp / "run",
            process,
            told,
        )
        try:
            eventually(lambda: healthy(running), "the store", DEADLINE_S)
            for name in (*BUCKETS, "spare"):
                running.client("admin").create_bucket(Bucket=name)
            yield running
        finally:
            process.kill()  # SIGTERM takes it 16 s
            process.wait()


class receiver:
    """Collects what is POSTed to it."""

    def __init__(self, told: list[tuple[str, str | None, Any]]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                told.append(
                    (self.path, self.headers["authorization"], json.loads(body))
                )
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> str:
        Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}/events/storage"

    def __exit__(self, *exc: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def test_a_small_disk_has_room_for_every_bucket(store: ComposeStore) -> None:
    """Volumes are bounded by the disk as they are filled. A limit of their number that is
    counted by the free disk leaves a small one without any for the last buckets.
    """
    for name in BUCKETS:
        store.client("admin").put_object(Bucket=name, Key="room.png", Body=b"photo")
    topology = httpx.get(f"{store.master_url}/dir/status").json()["Topology"]
    volumes = topology["Max"] - topology["Free"]
    assert volumes < 4 * (len(BUCKETS) + 1)
    assert topology["Free"] > 10_000


def healthy(store: ComposeStore) -> bool:
    assert store.process.poll() is None, (store.run_dir.parent / "log").read_text()[
        -2000:
    ]
    try:
        return httpx.get(f"{store.url}/healthz").is_success
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize("role", RIGHTS)
def test_each_identity_has_the_rights_of_its_work(
    store: ComposeStore, role: str
) -> None:
    """A worker, which decodes what strangers send, can neither change an original nor
    make itself a key.
    """
    assert rights.found(store.client(role), store.client("admin"), role) == RIGHTS[role]


@pytest.mark.parametrize("role", [role for role in ROLES if role != "admin"])
def test_only_the_administrator_makes_deletes_and_rules_buckets(
    store: ComposeStore, role: str
) -> None:
    store.client("admin").put_object(Bucket="results", Key="processed/t.png", Body=b"1")
    assert rights.bucket_rights(store.client(role), role) == rights.OF_BUCKETS.get(
        role, set()
    )


def test_a_form_signed_by_the_tickets_key_reaches_its_own_place(
    store: ComposeStore,
) -> None:
    for key, status in (("users/u/t/photo", 204), ("incoming/x.png", 403)):
        form = store.client("ticket").generate_presigned_post("uploads", key)
        assert (
            httpx.post(
                form["url"], data=form["fields"], files={"file": b"1"}
            ).status_code
            == status
        )


def test_nobody_comes_in_without_a_key(store: ComposeStore) -> None:
    """Anonymous requests are refused."""
    assert httpx.get(f"{store.url}/uploads/").status_code == 403


def test_uploads_are_told_with_the_token_and_results_are_not(
    store: ComposeStore,
) -> None:
    """New and overwritten uploads reach the handlers' door; what Darkroom writes itself
    never does.
    """
    store.client("handlers").put_object(
        Bucket="results", Key="processed/1.png", Body=b"1"
    )
    for body in (b"1", b"22"):
        store.client("client").put_object(
            Bucket="uploads", Key="in/photo é.jpg", Body=body
        )

    def kinds() -> list[str]:
        return [
            body["event_type"]
            for _, _, body in store.told
            if body["key"] == "/buckets/uploads/in/photo é.jpg"
        ]

    eventually(
        lambda: set(kinds()) == {"create", "update"}, "both notifications", DEADLINE_S
    )
    assert {(path, token) for path, token, _ in store.told} == {
        ("/events/storage", "Bearer the-token")
    }
    assert not [
        body["key"]
        for _, _, body in store.told
        if not body["key"].startswith("/buckets/uploads/")
    ]


def test_files_with_secrets_are_for_the_server_alone(store: ComposeStore) -> None:
    """Nobody else may read them, and the gRPC door, which hands out rights, has a key
    drawn at the start.
    """
    files = {path.name: path for path in store.run_dir.glob("*.*") if path.is_file()}
    assert {"identities.json", "notification.toml", "security.toml"} <= set(files)
    assert {path.stat().st_mode & 0o077 for path in files.values()} == {0}
    assert len(files["security.toml"].read_text().split('"')[1]) == 64


def test_enabling_notifications_is_refused_with_the_way_out(
    store: ComposeStore,
) -> None:
    """SeaweedFS takes the call for "create the bucket"; the person learns that
    notification.toml does it.
    """
    settings = Settings(
        s3_endpoint_url=store.url,
        s3_access_key=SecretStr("darkroom-admin"),
        s3_secret_key=SecretStr("admin-secret"),
    )
    with pytest.raises(SettingsError, match=r"notification\.toml"):
        BucketNotifications(settings).enable("arn:minio:sqs::DARKROOM:webhook")
    with pytest.raises(SettingsError, match=r"notification\.toml"):
        next(BucketNotifications(settings).listen())


@pytest.mark.parametrize(
    ("name", "value"),
    [("S3_WORKER_SECRET_KEY", ""), ("WEBHOOK_TOKEN", 'a"b'), ("BUCKET_UPLOADS", "a b")],
)
def test_a_missing_or_strange_value_stops_the_start(
    tmp_path: Path, name: str, value: str
) -> None:
    """No store with an empty secret, and none whose files mean something else than was
    meant.
    """
    env = environment(tmp_path, "http://127.0.0.1:1/") | {name: value}
    done = subprocess.run(["sh", SCRIPT], env=env, capture_output=True, text=True)
    assert done.returncode == 2
    assert name in done.stderr
    assert not (tmp_path / "run").exists()
