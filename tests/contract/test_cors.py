"""The rules by which web pages may reach the buckets, on moto."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from moto.server import ThreadedMotoServer
from pydantic import SecretStr

from infra import cors
from infra.bootstrap import buckets
from shared.runtime.settings import Settings
from shared.s3.store import S3Store

PAGES = "https://app.example, https://museum.example"
OTHER = {"ID": "theirs", "AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}


@pytest.fixture
def settings() -> Iterator[Settings]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Settings(
        s3_endpoint_url=f"http://{host}:{port}",
        s3_access_key=SecretStr("key"),
        s3_secret_key=SecretStr("secret-key"),
        cors_origins=PAGES,
        api_url="https://darkroom.example/api",
    )
    server.stop()


def test_pages_may_reach_uploads_and_results(settings: Settings) -> None:
    """Also the API's own page; a rule of somebody else stays, ours is there once."""
    store = S3Store(settings)
    for bucket in buckets(settings):
        store.make_bucket(bucket)
    uploads = settings.bucket_uploads
    theirs: Any = {"CORSRules": [OTHER]}
    store.client.put_bucket_cors(Bucket=uploads, CORSConfiguration=theirs)
    for _ in range(2):
        cors.allow_pages(store, settings)
    other, ours = store.client.get_bucket_cors(Bucket=uploads)["CORSRules"]
    assert other["AllowedMethods"] == ["GET"]
    assert ours["AllowedOrigins"] == [
        "https://app.example",
        "https://museum.example",
        "https://darkroom.example",
    ]
    assert {"PUT", "POST", "GET"} <= set(ours["AllowedMethods"])
    assert "ETag" in ours["ExposeHeaders"]
    results = store.client.get_bucket_cors(Bucket=settings.bucket_results)
    assert "PUT" not in results["CORSRules"][0]["AllowedMethods"]


def test_a_page_of_this_machine_needs_no_rule(settings: Settings) -> None:
    """SeaweedFS answers every page while there is none."""
    local = {"cors_origins": "", "api_url": "http://127.0.0.1:8080"}
    assert cors.origins(settings.model_copy(update=local)) == []


def test_a_store_that_takes_no_rule_is_no_fault(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = settings.model_copy(update={"bucket_uploads": "nowhere"})
    cors.allow_pages(S3Store(nowhere), nowhere)
    assert "buckets.no_cors" in capsys.readouterr().out


def test_the_console_beside_named_pages_needs_one() -> None:
    """Also by http: the rule that names others would keep it out."""
    settings = Settings(cors_origins=PAGES, api_url="http://darkroom.lan:8080")
    assert cors.origins(settings)[-1] == "http://darkroom.lan:8080"
