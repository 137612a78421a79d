"""What Darkroom does on Ceph, a second S3 server, beside the suite of the store that
runs over it.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from PIL import Image
from pydantic import SecretStr
from typer.testing import CliRunner

from handlers.audit_log.database import AuditLog
from handlers.audit_log.values import Filter
from infra.bootstrap import bootstrap, buckets
from infra.commands import storage
from infra.local.stack import Stack
from shared.errors import NotFound, SettingsError
from shared.runtime.settings import Settings
from shared.s3.presign import Presigner, Upload
from shared.s3.store import ObjectInfo, S3Store
from shared.uploads import keys
from shared.uploads.documents import Reason, Receipt, Record
from shared.uploads.ref import upload_id_of
from tests.support.brokers import free_port
from tests.support.databases import corner
from tests.support.stores import drop_bucket, keep_versions, make_bucket, versions
from tests.support.waiting import eventually

TOKEN = "the-token"
PATIENCE_S = 180.0


def test_bootstrap_leaves_nothing_behind(ceph: Settings) -> None:
    """Whether one writer wins is asked each time."""
    store = S3Store(ceph)
    before = {bucket: versions(store, bucket) for bucket in buckets(ceph)}
    bootstrap(ceph)
    assert {bucket: versions(store, bucket) for bucket in buckets(ceph)} == before


def test_a_bucket_in_which_the_second_writer_wins_is_refused(ceph: Settings) -> None:
    """Ceph 16 heeds `If-None-Match` in buckets without versions only: two workers would
    do the same work.
    """
    store = S3Store(ceph)
    bucket = make_bucket(store)
    keep_versions(store, bucket)
    try:
        with pytest.raises(SettingsError, match="bucket without versions"):
            bootstrap(ceph.model_copy(update={"bucket_results": bucket}))
    finally:
        drop_bucket(store, bucket)


def photo(colour: int, size: tuple[int, int] = (40, 30)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (colour, 80, 70)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def upload(ceph: Settings) -> Iterator[Upload]:
    data = photo(1)
    yield Upload(
        "uploads",
        "users/u/1/é 1.png",
        "image/png",
        {"user": "ann", "filename": "%C3%A9.png"},
        len(data),
    )
    S3Store(ceph).delete("uploads", "users/u/1/é 1.png")


def is_there(ceph: Settings, upload: Upload, data: bytes) -> None:
    store = S3Store(ceph)
    info = store.head(upload.bucket, upload.key)
    assert (info.content_type, info.metadata) == (upload.content_type, upload.metadata)
    assert store.read(upload.bucket, upload.key) == data


def test_a_signed_put_takes_what_was_signed_and_nothing_else(
    ceph: Settings, upload: Upload
) -> None:
    url, headers = Presigner(ceph).put(upload, 60, datetime.now(UTC))
    longer = headers | {"Content-Length": str(len(photo(1)) + 4)}
    assert httpx.put(url, headers=longer, content=photo(1) + b"more").status_code == 403
    assert (
        httpx.put(
            url, headers=headers | {"x-amz-meta-user": "eve"}, content=photo(1)
        ).status_code
        == 403
    )
    with pytest.raises(NotFound):
        S3Store(ceph).head(upload.bucket, upload.key)
    assert httpx.put(url, headers=headers, content=photo(1)).status_code == 200
    is_there(ceph, upload, photo(1))


def test_a_signed_form_takes_what_was_signed_and_nothing_else(
    ceph: Settings, upload: Upload
) -> None:
    url, fields = Presigner(ceph).form(upload, 1000, 60, datetime.now(UTC))
    for changed, data in (
        ({"key": "users/eve.png"}, photo(1)),
        ({"x-amz-meta-user": "eve"}, photo(1)),
        ({}, b"x" * 1001),
    ):
        assert httpx.post(
            url, data=fields | changed, files={"file": data}
        ).status_code in (400, 403)
    with pytest.raises(NotFound):
        S3Store(ceph).head(upload.bucket, upload.key)
    assert httpx.post(url, data=fields, files={"file": photo(1)}).status_code == 201
    is_there(ceph, upload, photo(1))


def test_signed_parts_become_one_object(ceph: Settings, upload: Upload) -> None:
    data = os.urandom((5 << 20) + 7)
    large = Upload(
        upload.bucket, upload.key, upload.content_type, upload.metadata, len(data)
    )
    begun = Presigner(ceph).multipart(large, 5 << 20, 60, datetime.now(UTC))
    done, at = "", 0
    for number, size, url in begun.parts:
        etag = httpx.put(url, content=data[at : at + size]).headers["etag"]
        done, at = (
            f"{done}<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>",
            at + size,
        )
    body = f"<CompleteMultipartUpload>{done}</CompleteMultipartUpload>"
    assert httpx.post(begun.complete, content=body).status_code == 200
    is_there(ceph, large, data)
    assert S3Store(ceph).head(large.bucket, large.key).etag.endswith("-2")


def test_an_upload_in_parts_that_was_begun_is_listed_and_ended(
    ceph: Settings, upload: Upload
) -> None:
    store = S3Store(ceph)
    Presigner(ceph).multipart(upload, 5 << 20, 60, datetime.now(UTC))
    (begun,) = [
        found for found in store.unfinished("uploads") if found.key == upload.key
    ]
    assert 0 <= begun.age_s < 600
    store.end(begun)
    store.end(begun)
    assert [
        found for found in store.unfinished("uploads") if found.key == upload.key
    ] == []


@pytest.fixture
def darkroom(
    ceph: Settings, servers: Stack, url: str, tmp_path: Path
) -> Iterator[Settings]:
    """All processes of the main job, on Ceph; the settings that they have."""
    given: dict[str, Any] = {
        "s3_endpoint_url": ceph.s3_endpoint_url,
        "s3_access_key": ceph.s3_access_key.get_secret_value(),
        "s3_secret_key": ceph.s3_secret_key.get_secret_value(),
        "broker_url": corner(servers.settings),
        "database_url": url,
        "state_dir": tmp_path,
        "webhook_token": TOKEN,
        "pepper": "p",
        "api_key": "operator-key",
        "api_port": free_port(),
        "metrics_port": 0,
        "default_workflow": "fast",
        "sweep_interval_s": 1,
        "lease_s": 5,
        "worker_threads": 1,
        "log_format": "json",
    }
    settings = Settings.given(**given)
    commands = (
        ["handlers", "http"],
        ["handlers", "recorder"],
        ["handlers", "sweep"],
        ["gpu_worker"],
    )
    with ExitStack() as running:
        for module, *arguments in commands:
            log = running.enter_context(
                (tmp_path / f"{module}{'-'.join(arguments)}.log").open("wb")
            )
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env=os.environ | settings.variables(),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            running.callback(process.wait, 120)
            running.callback(process.terminate)
        eventually(lambda: _listens(settings), "the door", PATIENCE_S)
        yield settings


def _listens(settings: Settings) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{settings.api_port}/healthz").is_success
    except httpx.HTTPError:
        return False


def topic(settings: Settings) -> str:
    """The name of Ceph's target that is the door of storage notifications."""
    client = boto3.client(
        "sns",
        endpoint_url=settings.s3_endpoint_url,
        region_name="default",
        aws_access_key_id=settings.s3_access_key.get_secret_value(),
        aws_secret_access_key=settings.s3_secret_key.get_secret_value(),
    )

    def as_from_a_proxy(request: Any, **_: Any) -> None:
        request.headers["X-Forwarded-Proto"] = "https"  # it takes no password otherwise

    client.meta.events.register("before-sign.sns", as_from_a_proxy)
    address = f"http://darkroom:{TOKEN}@127.0.0.1:{settings.api_port}/events/storage"
    return client.create_topic(Name="darkroom", Attributes={"push-endpoint": address})[
        "TopicArn"
    ]


def document(store: S3Store, bucket: str, key: str) -> bytes | None:
    try:
        return store.read(bucket, key)
    except NotFound:
        return None


def put(store: S3Store, key: str, data: bytes) -> ObjectInfo:
    store.put("uploads", key, data, "image/png")
    return store.head("uploads", key)


def restored(store: S3Store, info: ObjectInfo) -> Record:
    ident = upload_id_of(info)
    receipt = eventually(
        lambda: document(store, "results", keys.receipt(ident)), "a receipt", PATIENCE_S
    )
    assert receipt
    task_id = Receipt.from_bytes(receipt, keys.receipt(ident)).task_id or ""
    record = eventually(
        lambda: document(store, "results", keys.record(task_id)), "a record", PATIENCE_S
    )
    assert record
    return Record.from_bytes(record, keys.record(task_id))


def test_the_main_job(darkroom: Settings, tmp_path: Path) -> None:
    """Whoever is told by the sweep, and whoever is told by Ceph's own notification:
    result, record, row, quarantine.
    """
    store = S3Store(darkroom)
    lost = put(store, "lost/é+1 %41.png", photo(1))
    assert restored(store, lost).source.key == lost.key

    # From here on Ceph tells of uploads itself, and nothing else does.
    cli = CliRunner(env=darkroom.variables())
    arn = topic(darkroom)
    for said in ("is now", "was already"):
        enabled = cli.invoke(storage.app, ["notifications", "enable", arn])
        assert (enabled.exit_code, said in enabled.stdout) == (0, True), enabled.output
    shown = json.loads(cli.invoke(storage.app, ["notifications", "show"]).stdout)
    assert [(rule["target"], rule["events"]) for rule in shown["topics"]] == [
        (arn, ["s3:ObjectCreated:*"])
    ]
    info = put(store, "told/é+2 %41.png", photo(2))
    record = restored(store, info)
    assert (record.source.etag, record.source.key, record.source.version) == (
        info.etag,
        info.key,
        None,
    )
    with Image.open(io.BytesIO(store.read("results", record.result_key))) as image:
        assert image.size == (160, 120)
    doors = [
        json.loads(line)
        for line in (tmp_path / "handlershttp.log").read_text().splitlines()
    ]
    assert upload_id_of(info) in {line.get("upload_id") for line in doors}, (
        "the door, not the sweep, decided on it"
    )

    bad = put(store, "told/bad.jpg", b"no photo")
    reason = eventually(
        lambda: document(store, "quarantine", keys.reason(upload_id_of(bad))),
        "a reason",
        PATIENCE_S,
    )
    assert reason
    assert (
        Reason.from_bytes(reason, keys.reason(upload_id_of(bad))).error_code
        == "unsupported_format"
    )
    assert (
        store.read("quarantine", keys.quarantined(upload_id_of(bad), bad.key))
        == b"no photo"
    )
    book = AuditLog(
        Settings(database_url=SecretStr(darkroom.database_url.get_secret_value()))
    )
    ends = ["rejected", "success", "success"]
    eventually(
        lambda: sorted(row.status for row in book.page(Filter(), 10)) == ends,
        "three rows",
        PATIENCE_S,
    )
    book.close()
