"""A ticket's PUT is one upload, and what was refused of a ticket does not stay among
the uploads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from handlers.context import Context
from handlers.intake import persist
from handlers.intake.decision import Decision
from handlers.intake.notifications import UploadEvent
from handlers.on_upload import on_upload
from infra.local.stack import Stack
from shared.errors import Code, NotFound, StorageUnavailable
from shared.runtime.settings import Settings
from shared.s3.clock import SystemClock
from shared.s3.store import S3Store
from shared.uploads import keys
from shared.uploads.documents import Reason
from tests.contract.test_api_uploads import client_of, issue, send
from tests.support.memory_publisher import MemoryPublisher
from tests.support.upload_world import photo


@pytest.fixture
def settings(servers: Stack) -> Settings:
    return servers.settings.model_copy(update={"max_upload_bytes": 10_000})


@pytest.fixture
def ctx(settings: Settings) -> Context:
    return Context(settings, S3Store(settings), MemoryPublisher(), SystemClock())


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with client_of(settings) as client:
        yield client


def put(issued: dict[str, Any], data: bytes) -> int:
    return httpx.put(
        issued["put"]["url"], headers=issued["put"]["headers"], content=data
    ).status_code


def decide(ctx: Context, key: str) -> Decision:
    return on_upload(UploadEvent("uploads", key, "create"), ctx)


def is_there(ctx: Context, bucket: str, key: str) -> bool:
    try:
        ctx.store.head(bucket, key)
    except NotFound:
        return False
    return True


def test_a_put_is_one_upload(client: TestClient, ctx: Context) -> None:
    """Whoever sends another photo by it, or the same again, gets 412, and what is there
    stays.
    """
    issued, first = issue(client), photo()
    assert issued["put"]["headers"]["If-None-Match"] == "*"
    assert put(issued, first) == 200
    assert {put(issued, first), put(issued, first + b"x")} == {412}
    headers = {
        name: value
        for name, value in issued["put"]["headers"].items()
        if name != "If-None-Match"
    }
    assert (
        httpx.put(
            issued["put"]["url"], headers=headers, content=first + b"x"
        ).status_code
        == 403
    )
    assert ctx.store.read("uploads", issued["key"]) == first


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"no photo", Code.UNSUPPORTED_FORMAT), (bytes(10_001), Code.TOO_LARGE)],
)
def test_what_was_refused_is_taken_away(
    client: TestClient, ctx: Context, data: bytes, code: Code
) -> None:
    """The reason says why, quarantine keeps a copy of all but what is too large, and
    the ticket knows both.
    """
    issued = issue(client)
    path = f"/v1/uploads/{issued['ticket']}"
    assert put(issued, data) == 200
    decision = decide(ctx, issued["key"])
    assert decision.code == code
    assert decision.upload_id
    assert not is_there(ctx, "uploads", issued["key"])
    reason = keys.reason(decision.upload_id)
    assert (
        Reason.from_bytes(ctx.store.read("quarantine", reason), reason).error_code
        == code
    )
    copy = keys.quarantined(decision.upload_id, issued["key"], "Oma 中 100%.png")
    assert is_there(ctx, "quarantine", copy) == (code != Code.TOO_LARGE)
    shown = client.get(path).json()
    assert (shown["status"], shown["error"]["code"]) == ("rejected", code)
    assert client.delete(path).status_code == 200
    assert not is_there(ctx, "quarantine", copy)
    assert client.get(path).json()["status"] == "waiting"


def test_taking_away_that_broke_off_is_finished(
    client: TestClient, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notification comes again; the decision is the earlier one."""

    def away(*_: Any) -> None:
        raise StorageUnavailable("the store is away")

    issued = issue(client)
    assert put(issued, b"no photo") == 200
    with monkeypatch.context() as patch:
        patch.setattr(persist, "delete_original", away)
        with pytest.raises(StorageUnavailable):
            decide(ctx, issued["key"])
    assert is_there(ctx, "uploads", issued["key"])
    assert decide(ctx, issued["key"]).repeated
    assert not is_there(ctx, "uploads", issued["key"])


def test_without_a_copy_only_what_is_too_large_goes(
    client: TestClient, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost because the store would not copy it."""
    issued = issue(client)
    assert put(issued, b"no photo") == 200
    monkeypatch.setattr("handlers.intake.persist.keep_copy", lambda *_: None)
    assert decide(ctx, issued["key"]).kind == "rejected"
    assert is_there(ctx, "uploads", issued["key"])


def test_what_is_accepted_stays_and_so_does_what_came_by_no_ticket(
    client: TestClient, ctx: Context
) -> None:
    issued = issue(client)
    assert send(issued, photo()).status_code == 201
    assert decide(ctx, issued["key"]).kind == "queued"
    assert is_there(ctx, "uploads", issued["key"])
    user = issued["key"].split("/")[1]
    for key in ("bad/no photo.png", f"users/{user}/no photo.png"):
        ctx.store.put("uploads", key, b"no photo", "image/png")
        assert decide(ctx, key).kind == "rejected"
        assert is_there(ctx, "uploads", key)


def test_an_upload_of_an_earlier_release_is_found_and_erased(
    client: TestClient, ctx: Context
) -> None:
    """Its key ends in its name."""
    issued = issue(client)
    old = issued["key"].rpartition("/")[0] + "/Oma.png"
    ctx.store.put("uploads", old, photo(), "image/png")
    path = f"/v1/uploads/{issued['ticket']}"
    assert decide(ctx, old).kind in ("queued", "duplicate")
    assert client.get(path).json()["status"] in ("queued", "duplicate", "success")
    assert client.delete(path).status_code == 200
    assert not is_there(ctx, "uploads", old)
