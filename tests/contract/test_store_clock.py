"""A client whose clock is an hour off, on the real store, which refuses what is signed
for another time.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from shared.s3.clock import StoreClock, SystemClock
from shared.s3.presign import Presigner, Upload
from shared.s3.store import S3Store

HOUR_S = 3600.0
every_skew = pytest.mark.parametrize("skew_s", [-HOUR_S, -300.0, 300.0, HOUR_S])


class Wrong(SystemClock):
    """The clock of a machine that is `skew_s` ahead, until it is set."""

    def __init__(self, skew_s: float) -> None:
        self.skew_s = skew_s

    def now(self) -> Any:
        return super().now() + timedelta(seconds=self.skew_s)


def off_s(store: S3Store) -> float:
    return abs((store.clock.now() - SystemClock().now()).total_seconds())


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    return f"clock/{abs(hash(request.node.name))}/"


@every_skew
def test_single_objects(servers: Any, prefix: str, skew_s: float) -> None:
    """Written, read and asked for: a first request that is refused is signed again, for
    the store's time.
    """
    store = S3Store(servers.settings, StoreClock(Wrong(skew_s)))
    assert store.put_new("results", f"{prefix}a", b"a", "text/plain")
    assert not store.put_new("results", f"{prefix}a", b"b", "text/plain")
    assert store.read("results", f"{prefix}a") == b"a"
    assert off_s(store) < 4


@every_skew
def test_a_head_is_not_told_why(servers: Any, prefix: str, skew_s: float) -> None:
    S3Store(servers.settings).put("results", f"{prefix}a", b"a", "text/plain")
    assert (
        S3Store(servers.settings, StoreClock(Wrong(skew_s)))
        .head("results", f"{prefix}a")
        .bytes
        == 1
    )


@every_skew
def test_what_the_sdk_sends(servers: Any, prefix: str, skew_s: float) -> None:
    """A listing may be the first that a process asks for."""
    S3Store(servers.settings).put("results", f"{prefix}a", b"a", "text/plain")
    store = S3Store(servers.settings, StoreClock(Wrong(skew_s)))
    assert [info.key for info in store.list("results", prefix)] == [f"{prefix}a"]
    assert off_s(store) < 4


def test_a_clock_that_is_set(servers: Any, prefix: str) -> None:
    """Forwards and back again, while the process runs."""
    own = Wrong(0)
    store = S3Store(servers.settings, StoreClock(own))
    for skew_s in (0, HOUR_S, -HOUR_S, 0):
        own.skew_s = skew_s
        store.put("results", f"{prefix}a", b"a", "text/plain")
        assert off_s(store) < 4
    own.skew_s = HOUR_S
    assert [info.key for info in store.list("results", prefix)] == [f"{prefix}a"]


@every_skew
def test_requests_for_others_to_send(servers: Any, prefix: str, skew_s: float) -> None:
    """Form, PUT, parts and GET are good at once, for as long as they say."""
    store, settings = (
        S3Store(servers.settings, StoreClock(Wrong(skew_s))),
        servers.settings,
    )
    # from here on it knows the time
    store.put("results", f"{prefix}a+b 中.txt", b"hello", "text/plain")
    presigner, now = Presigner(settings), store.clock.now()
    url = presigner.get("results", f"{prefix}a+b 中.txt", 60, now)
    assert httpx.get(url).content == b"hello"
    assert httpx.get(url.replace("a%2Bb", "a%2Bc")).status_code == 403
    assert (
        httpx.get(
            presigner.get(
                "results", f"{prefix}a+b 中.txt", 60, now - timedelta(seconds=90)
            )
        ).status_code
        == 403
    )
    upload = Upload(
        "uploads", f"users/{prefix}x.png", "image/png", {"workflow": "fast"}, 3
    )
    url, headers = presigner.put(upload, 60, now)
    assert httpx.put(url, content=b"png", headers=headers).status_code == 200
    url, fields = presigner.form(upload, 100, 60, now)
    assert httpx.post(url, data=fields, files={"file": b"png"}).status_code == 201
    parts = presigner.multipart(upload, 2, 60, now)
    assert [
        httpx.put(url, content=b"p" * size).status_code for _, size, url in parts.parts
    ] == [200, 200]
    assert httpx.delete(parts.abort).status_code == 204


def test_other_refusals_are_final(servers: Any) -> None:
    """A wrong key stays wrong, whatever the time."""
    settings = servers.settings.model_copy(
        update={"s3_access_key": type(servers.settings.s3_access_key)("nobody")}
    )
    store = S3Store(settings, StoreClock(Wrong(HOUR_S)))
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        store.client.list_objects_v2(Bucket="results")
