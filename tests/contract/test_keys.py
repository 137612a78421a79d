"""`darkroom keys` on the real store, and the door that reads what it wrote there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from handlers.http.app import build
from handlers.http.auth.queued_photos import FRESH_S
from infra.local.stack import Stack
from shared import access
from shared.s3.store import S3Store
from shared.uploads import events, identity
from tests.conftest import darkroom
from tests.support.api_world import ApiWorld
from tests.support.fake_clock import FakeClock
from tests.support.waiting import eventually

PHOTO = {"filename": "grandma.jpg", "content_type": "image/png"}


def keys(servers: Stack, *arguments: str) -> Any:
    done = darkroom("keys", *arguments, state_dir=servers.settings.state_dir)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if "--json" in arguments else done.stdout


def test_a_key_is_made_used_listed_and_revoked(servers: Stack) -> None:
    """The key is printed once and stored nowhere; a door that remembers nothing yet
    refuses it once it is revoked.
    """
    made = keys(
        servers,
        "create",
        "--user",
        "a person's name",
        "--scopes",
        "read",
        "--expires",
        "90d",
        "--json",
    )
    parsed = access.parse(made["key"])
    assert parsed is not None
    pepper = servers.settings.pepper.get_secret_value().encode()
    assert made["user_hash"] == identity.user_hash("a person's name", pepper)
    assert (made["id"], made["scopes"]) == (parsed[0], ["read"])

    stored = S3Store(servers.settings).read("access", access.place(made["id"])).decode()
    assert parsed[1] not in stored
    assert "person" not in stored

    world, headers = (
        ApiWorld(servers.settings),
        {"Authorization": f"Bearer {made['key']}"},
    )
    assert (
        TestClient(build(world.ctx, checks={}))
        .get("/v1/workflows", headers=headers)
        .status_code
        == 200
    )
    (listed,) = [
        key for key in keys(servers, "list", "--json") if key["id"] == made["id"]
    ]
    assert listed == {name: value for name, value in made.items() if name != "key"}
    assert made["id"] in keys(servers, "list")

    keys(servers, "revoke", made["id"])
    assert "is revoked" in keys(servers, "revoke", made["id"])
    assert (
        TestClient(build(world.ctx, checks={}))
        .get("/v1/workflows", headers=headers)
        .status_code
        == 401
    )
    (listed,) = [
        key for key in keys(servers, "list", "--json") if key["id"] == made["id"]
    ]
    assert listed["revoked_at"]


def test_a_keys_callback_is_that_of_uploads_that_name_none(servers: Stack) -> None:
    """What an upload itself names goes before it; both are signed into what the app may
    send.
    """
    made = keys(
        servers,
        "create",
        "--user",
        "ann",
        "--callback",
        "https://app.example/hook",
        "--json",
    )
    assert made["callback"] == "https://app.example/hook"
    headers = {"Authorization": f"Bearer {made['key']}"}
    client = TestClient(
        build(ApiWorld(servers.settings).ctx, checks={}), headers=headers
    )

    def signed(**more: str) -> str:
        fields = client.post("/v1/uploads", json=PHOTO | more).json()["post"]["fields"]
        return str(fields["x-amz-meta-callback"])

    assert signed() == "https://app.example/hook"
    assert signed(callback="https://other.example/hook") == "https://other.example/hook"


def test_without_json_the_key_stands_alone(servers: Stack) -> None:
    """So that a shell can keep it."""
    key = keys(servers, "create", "--user", "ann", "--expires", "never").strip()
    assert access.parse(key)


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "--user", "ann", "--scopes", "everything"),
        ("create", "--user", "ann", "--scopes", ""),
        ("create", "--user", "ann", "--expires", "soon"),
        ("create", "--user", "ann", "--expires", "0d"),
        ("create", "--user", " "),
        ("create", "--user", "ann", "--callback", "http://10.0.0.1/"),
        ("create",),
    ],
)
def test_what_cannot_be_meant_makes_no_key(
    servers: Stack, arguments: tuple[str, ...]
) -> None:
    done = darkroom("keys", *arguments, state_dir=servers.settings.state_dir)
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize(
    ("key_id", "status"), [("0" * 16, 1), ("../../receipts/x", 2), ("", 2)]
)
def test_only_a_key_that_is_there_is_revoked(
    servers: Stack, key_id: str, status: int
) -> None:
    """1: no such key. 2: no key's id at all."""
    done = darkroom("keys", "revoke", key_id, state_dir=servers.settings.state_dir)
    assert done.returncode == status
    assert "darkroom keys list" in done.stderr


def test_photos_that_wait_in_the_log_count_against_the_quota(servers: Stack) -> None:
    """Also those that came through the bucket; when they are done, there is room again."""
    world = ApiWorld(servers.settings.model_copy(update={"limit_queued_photos": 2}))
    user = f"quota-{id(world)}"
    receipts = [world.upload(user) for _ in range(2)]
    clock = FakeClock(world.ctx.clock.now())
    app = build(
        type(world.ctx)(world.settings, world.store, world.publisher, clock), checks={}
    )
    made = keys(servers, "create", "--user", user, "--json")
    client = TestClient(app, headers={"Authorization": f"Bearer {made['key']}"})

    def asked() -> int:
        clock.advance(FRESH_S)
        return client.post("/v1/uploads", json=PHOTO).status_code

    eventually(lambda: asked() == 429, "the two that wait fill the quota")
    world.audit_log.write(
        [events.of_record(world.restore(receipt), "results") for receipt in receipts]
    )
    eventually(lambda: asked() == 201, "there is room again")
