"""Addresses and headers of the lean S3 client are the SDK's, byte for byte; nothing is
sent here.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.awsrequest import AWSResponse
from botocore.credentials import Credentials
from botocore.exceptions import NoCredentialsError, ParamValidationError
from urllib3 import HTTPConnectionPool, HTTPResponse, ProxyManager

from shared.errors import PermanentError
from shared.runtime.settings import Settings
from shared.s3.http import S3Http, metadata_headers
from shared.s3.store import S3Store

PLACES = [
    ("", "us-east-1"),
    ("", "eu-central-1"),
    ("", "cn-north-1"),
    ("http://127.0.0.1:8333", "us-east-1"),
    ("https://minio.example/prefix/", "us-east-1"),
    ("https://s3.example", "auto"),
]
BUCKETS = ["uploads", "with.dots", "Upper"]
KEYS = [
    "plain.jpg",
    "a b+c.jpg",
    "~tilde~",
    "/first",
    "a//b",
    "a/../b",
    "./a",
    "a/.",
    "100%.jpg",
    "%2F",
    "#1",
    "q?x=1&y=2",
    "中文/照片.jpg",
    "🖼️.jpg",
    "e\u0301",
    "quote'\"",
    "!*'()[]{};:@$,=&<>|\\^`",
    "\x01\x7f",
]

ANSWER = {
    "ETag": '"e"',
    "Content-Length": "0",
    "Last-Modified": "Mon, 23 Nov 2026 04:24:01 GMT",
    "Date": "Mon, 23 Nov 2026 04:24:01 GMT",
}


def settings(endpoint: str, region: str) -> Settings:
    return Settings(
        s3_endpoint_url=endpoint, s3_region=region, s3_access_key="a", s3_secret_key="s"
    )


@dataclass
class Request:
    """As it would go out."""

    url: str
    headers: dict[str, str]
    body: Any


class Sent:
    """What a store would send: the SDK's `theirs`, the lean client's `ours`. Everything
    is answered with 200.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, store: S3Store | None = None
    ) -> None:
        self.theirs: list[Any] = []
        self.ours: list[Request] = []
        if store:
            store.client.meta.events.register(
                "before-send.s3", lambda request, **_: self._answer_sdk(request)
            )
        monkeypatch.setattr(HTTPConnectionPool, "urlopen", self._answer)

    def _answer_sdk(self, request: Any) -> AWSResponse:
        self.theirs.append(request)
        return AWSResponse(
            request.url, 200, ANSWER, HTTPResponse(io.BytesIO(), preload_content=False)
        )

    def _answer(
        self, method: str, target: str, body: Any, headers: dict[str, str], **_: Any
    ) -> HTTPResponse:
        self.ours.append(Request(target, headers, body))
        return HTTPResponse(b"", headers=ANSWER, status=200)


@pytest.mark.parametrize("bucket", BUCKETS)
@pytest.mark.parametrize(("endpoint", "region"), PLACES)
def test_an_object_is_where_the_sdk_looks_for_it(
    endpoint: str, region: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Host, path and query of every key, on Amazon's hosts and on others."""
    store = S3Store(settings(endpoint, region))
    sent = Sent(monkeypatch, store)
    for key in KEYS:
        store.client.head_object(Bucket=bucket, Key=key, VersionId="v+/=1")
        store.head(bucket, key, "v+/=1")
        assert store._http.url(bucket, key, "v+/=1") == sent.theirs[-1].url
        assert (
            sent.ours[-1].url
            == sent.theirs[-1].url.partition(urlsplit(sent.theirs[-1].url).netloc)[2]
        )


def test_a_request_is_signed_over_the_same_headers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Payload hash, condition, type and metadata are all under the signature, as in the
    SDK's own request.
    """
    store = S3Store(settings("http://127.0.0.1:1", "us-east-1"))
    sent = Sent(monkeypatch, store)
    store.client.put_object(
        Bucket="b",
        Key="k",
        Body=b"photo",
        ContentType="image/png",
        Metadata={"user": "u  v"},
        IfNoneMatch="*",
    )
    assert store.put_new("b", "k", b"photo", "image/png", {"user": "u  v"})
    theirs, ours = (
        {k.lower(): _text(v) for k, v in request.headers.items()}
        for request in sent.theirs + sent.ours
    )
    for name in (
        "x-amz-content-sha256",
        "if-none-match",
        "content-type",
        "x-amz-meta-user",
        "content-length",
    ):
        assert ours[name] == theirs[name]
    signed = {
        "content-type",
        "host",
        "if-none-match",
        "x-amz-content-sha256",
        "x-amz-date",
        "x-amz-meta-user",
    }
    assert signed == set(
        ours["authorization"]
        .partition("SignedHeaders=")[2]
        .partition(",")[0]
        .split(";")
    )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


class Renewed(Credentials):
    """Credentials that end: each request gets the ones of now, with their session
    token.
    """

    def get_frozen_credentials(self) -> Any:
        self.token = f"{self.token}+"
        return super().get_frozen_credentials()


def test_credentials_are_asked_for_each_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    http = S3Http(
        "https://s3.example", "us-east-1", Renewed("a", "s", "token"), path_style=True
    )
    sent = Sent(monkeypatch)
    for _ in range(2):
        http.request("GET", "b", "k")
    assert [request.headers["X-Amz-Security-Token"] for request in sent.ours] == [
        "token+",
        "token++",
    ]


def test_without_credentials_nothing_is_sent() -> None:
    http = S3Http("http://127.0.0.1:1", "us-east-1", None, path_style=True)
    with pytest.raises(NoCredentialsError):
        http.request("GET", "b", "k")


def test_the_empty_key_is_not_the_bucket() -> None:
    """A DELETE of it would be one of the bucket."""
    store = S3Store(settings("http://127.0.0.1:1", "us-east-1"))
    with pytest.raises(PermanentError, match="the key is empty"):
        store.delete("b", "")


@pytest.mark.parametrize(
    "metadata", [{"user": "é"}, {"é": "user"}, {"user": "a\r\nx-amz-acl: public-read"}]
)
def test_metadata_that_a_header_cannot_carry(metadata: dict[str, str]) -> None:
    """Refused as the SDK refuses it, before anything is sent; no header is smuggled in."""
    with pytest.raises(ParamValidationError):
        metadata_headers(metadata)


def test_amazon_is_reached_by_the_buckets_own_name() -> None:
    http = S3Http(
        "https://s3.eu-central-1.amazonaws.com", "eu-central-1", None, path_style=False
    )
    assert (
        urlsplit(http.url("uploads", "a")).netloc
        == "uploads.s3.eu-central-1.amazonaws.com"
    )
    assert urlsplit(http.url("with.dots", "a")).path == "/with.dots/a"


@pytest.mark.parametrize(
    ("endpoint", "target"),
    [
        ("http://s3.example", "http://s3.example/b/a/../k"),
        ("https://s3.example", "/b/a/../k"),
    ],
)
def test_a_proxy_of_the_environment_is_used(
    endpoint: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the SDK does: asked for the whole address where it forwards, for the path
    where it only connects.
    """
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", "proxy.example:3128")
    monkeypatch.setenv("no_proxy", "localhost")
    sent = Sent(monkeypatch)
    http = S3Http(endpoint, "us-east-1", Credentials("a", "s"), path_style=True)
    http.request("GET", "b", "a/../k")
    assert sent.ours[0].url == target
    assert isinstance(http._pools, ProxyManager)
    assert (http._pools.proxy.host, http._pools.proxy.port) == ("proxy.example", 3128)
