"""What the holder of a ticket may try with its signed requests on the real store, and
does not get.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest
from starlette.testclient import TestClient

from infra.local.stack import Stack
from shared.s3.store import S3Store
from tests.contract.test_api_uploads import client_of, issue
from tests.support.admin import as_admin

VICTIM = "archive"
NEW = "a-bucket-of-a-stranger"


@pytest.fixture
def admin(servers: Stack) -> S3Store:
    return S3Store(as_admin(servers.settings))


@pytest.fixture
def client(servers: Stack) -> Iterator[TestClient]:
    with client_of(
        servers.settings.model_copy(update={"multipart_bytes": 5 << 20})
    ) as client:
        yield client


def signed(client: TestClient, name: str) -> list[tuple[str, str, dict[str, str]]]:
    """Every signed request of a ticket for a file of this name: method, URL, headers."""
    issued = issue(client, filename=name, bytes=6 << 20)
    parts = issued["multipart"]
    headers = {
        header: value
        for header, value in issued["put"]["headers"].items()
        if header != "Content-Length"
    }
    return [
        ("PUT", issued["put"]["url"], headers | {"Content-Length": str(6 << 20)}),
        ("PUT", parts["parts"][1]["url"], {}),
        ("POST", parts["complete"], {}),
        ("DELETE", parts["abort"], {}),
    ]


def cut(url: str) -> Iterator[tuple[str, str]]:
    """The URL with its path cut in two at each slash: what stays, and what goes into
    the header.
    """
    parts = urlsplit(url)
    for at in [number for number, letter in enumerate(parts.path) if letter == "/"][1:]:
        yield urlunsplit(parts._replace(path=parts.path[at:])), parts.path[:at]


def buckets(admin: S3Store) -> set[str]:
    return {bucket["Name"] for bucket in admin.client.list_buckets()["Buckets"]}


@pytest.mark.parametrize("name", [VICTIM, NEW])
def test_no_ticket_makes_or_deletes_a_bucket(
    client: TestClient, admin: S3Store, name: str
) -> None:
    """This store verifies a signature over an unsigned header and the path together, so
    a path may be cut anywhere.
    """
    admin.put(VICTIM, "kept.txt", b"kept", "text/plain")
    before = buckets(admin)
    for method, url, headers in signed(client, name):
        for rest, prefix in cut(url):
            length = int(headers.get("Content-Length", "0"))
            httpx.request(
                method,
                rest,
                headers={**headers, "X-Forwarded-Prefix": prefix},
                content=bytes(length),
            )
            assert buckets(admin) == before, (method, rest, prefix)
    assert admin.read(VICTIM, "kept.txt") == b"kept"


def test_no_segment_of_a_signed_path_is_the_callers_choice(client: TestClient) -> None:
    """Whatever the file is called, its signed paths are the same but for the ticket."""
    shapes = set()
    for name in (VICTIM, "Oma.png", "../../results/x"):
        issued: dict[str, Any] = issue(client, filename=name)
        assert issued["post"]["fields"]["key"] == issued["key"]
        shapes |= {issued["key"].replace(issued["ticket"], "{ticket}")}
        shapes |= {
            urlsplit(issued["put"]["url"])
            .path.removeprefix("/uploads/")
            .replace(issued["ticket"], "{ticket}")
        }
    (shape,) = shapes
    assert shape.endswith("/{ticket}/photo")


def test_a_bucket_that_holds_something_is_not_deleted(admin: S3Store) -> None:
    """Not even by the key that may do everything."""
    admin.put(VICTIM, "kept.txt", b"kept", "text/plain")
    with pytest.raises(admin.client.exceptions.ClientError, match="BucketNotEmpty"):
        admin.client.delete_bucket(Bucket=VICTIM)
    assert admin.read(VICTIM, "kept.txt") == b"kept"
