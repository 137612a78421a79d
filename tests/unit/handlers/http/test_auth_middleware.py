"""Authentication before `/v1`: keys, anonymous users, and what every response carries."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import structlog
from fastapi.testclient import TestClient

from handlers.http.auth import keys
from handlers.http.auth.keys import KeyRing
from shared import access
from shared.uploads import identity
from tests.support.access_world import OPERATOR, PHOTO, Town


@pytest.fixture
def town() -> Town:
    return Town()


def test_a_key_opens_the_door_until_it_expires(town: Town) -> None:
    key, document = town.key(days=1)
    assert town.ask(key).status_code == 200
    town.world.clock.advance(86_400)
    answer = town.ask(key)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (
        401,
        'Bearer error="invalid_token"',
    )
    assert "it is expired" in answer.json()["detail"]
    assert document.hash not in answer.text


def test_the_bucket_knows_no_key(town: Town) -> None:
    """256 random bits, of which only the hash is written down."""
    key, document = town.key()
    secret = key.rpartition("_")[2] if "_" not in key[21:] else key[21:]
    stored = town.world.store.read("access", access.place(document.id)).decode()
    assert secret not in stored
    assert "ann" not in stored
    assert len(secret) == 43


def test_a_revoked_key_opens_nothing_once_what_the_door_remembers_is_old(
    town: Town,
) -> None:
    key, document = town.key()
    assert town.ask(key).status_code == 200
    town.keep(document.model_copy(update={"revoked_at": town.world.clock.now()}))
    town.world.clock.advance(town.world.ctx.settings.api_key_cache_s)
    assert town.ask(key).status_code == 401


def test_a_key_is_used_while_the_store_is_away_as_long_as_it_is_remembered(
    town: Town,
) -> None:
    """Then the answer is 503: whether the key was revoked cannot be said."""
    key, _ = town.key()
    assert town.ask(key).status_code == 200
    town.world.store.unavailable = True
    assert town.ask(key).status_code == 200
    town.world.clock.advance(30)
    answer = town.ask(key)
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert "retry-after" in answer.headers


@pytest.mark.parametrize(
    "change",
    [
        lambda key: key[:-1] + ("A" if key[-1] != "A" else "B"),
        lambda key: key + "A",
        lambda key: key.upper(),
        lambda key: key.replace("drk_", ""),
        lambda key: key[:21] + "x" * 43,
        lambda key: "drk_" + "0" * 16 + key[20:],
        lambda key: key + " " + key,
        lambda key: f"{key},{key}",
    ],
)
def test_a_key_that_differs_in_anything_opens_nothing(town: Town, change: Any) -> None:
    assert town.ask(change(town.key()[0])).status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic {key}",
        "{key}",
        "Bearer\t{key}",
        "Bearer {key}\u00e9",
    ],
)
def test_a_header_that_is_no_bearer_token_opens_nothing(
    town: Town, header: str
) -> None:
    text = header.format(key=town.key()[0]).encode("latin-1")
    assert (
        town.client.get("/v1/workflows", headers={"Authorization": text}).status_code
        == 401
    )


def test_two_keys_at_once_open_nothing(town: Town) -> None:
    """Two readers of such a request could see two callers in it."""
    headers = [
        ("Authorization", f"Bearer {key}")
        for key in (town.key("ann")[0], town.key("eve")[0])
    ]
    assert town.client.get("/v1/workflows", headers=headers).status_code == 401


def test_nothing_but_a_key_of_its_form_reaches_the_store(town: Town) -> None:
    """No text of a stranger becomes the name of an object."""
    town.world.store.unavailable = True
    for text in ("drk_../../x_" + "a" * 43, "x", "drk_" + "0" * 16 + "_short", "a.b.c"):
        assert town.ask(text).status_code == 401


def test_a_damaged_document_opens_nothing_and_is_told(town: Town) -> None:
    key, document = town.key()
    town.world.store.put("access", access.place(document.id), b"{", "application/json")
    with structlog.testing.capture_logs() as lines:
        assert town.ask(key).status_code == 401
    assert [line["event"] for line in lines] == ["document.damaged"]


def test_an_empty_operators_key_opens_nothing() -> None:
    town = Town(api_key="")
    assert [town.ask(key).status_code for key in ("", " ", "None")] == [401] * 3


def test_routes_that_are_not_there_are_behind_the_gate_too(town: Town) -> None:
    assert town.ask(None, "/v1/nothing").status_code == 401
    assert town.ask(OPERATOR, "/v1/nothing").status_code == 404
    assert town.ask(None, "/v1").status_code == 401


def test_no_user_is_anonymous_unless_a_setting_says_so(town: Town) -> None:
    """Then they upload and read as `anonymous`; a wrong key is still wrong."""
    assert town.ask(None).status_code == 401
    free = Town(allow_anonymous=True)
    assert free.ask(None).status_code == 200
    ticket = free.post(None).json()
    assert ticket["key"].startswith(
        f"users/{identity.user_hash('anonymous', b'pepper')}/"
    )
    assert (
        free.client.delete("/v1/tasks/0b0e7f1c-2f54-5b0e-8f0a-6c1d2e3f4a5b").status_code
        == 403
    )
    assert free.ask("wrong").status_code == 401


def test_invented_keys_are_remembered_up_to_a_limit_and_push_no_true_one_out(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "MOST", 50)
    key, _ = town.key()
    ring, found = KeyRing(town.world.ctx), access.parse(key)
    assert found is not None

    async def flood() -> None:
        await ring.find(found[0])
        for number in range(55):
            await ring.find(f"{number:016x}")

    asyncio.run(flood())
    town.world.store.unavailable = True
    assert ring.remembers(found[0])
    assert not ring.remembers(f"{0:016x}")
    assert ring.remembers(f"{50:016x}")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/workflows",
        "/v1/nothing",
        "/healthz",
        "/openapi.json",
        "/nothing",
        "/v1/tasks",
    ],
)
def test_every_answer_says_what_browsers_may_do_with_it(town: Town, path: str) -> None:
    for key in (OPERATOR, None):
        headers = town.ask(key, path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "no-referrer"
        assert "strict-transport-security" not in headers
        assert (headers.get("cache-control") == "no-store") == path.startswith("/v1/")


def test_the_answer_to_a_bug_of_ours_carries_it_too(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "handlers.http.api.workflows_and_stats.workflows.offered", lambda _: 1 / 0
    )
    with structlog.testing.capture_logs():
        answer = town.ask(OPERATOR)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


def test_tls_is_asked_for_once_it_was_there() -> None:
    town = Town(trusted_proxies="192.0.2.7")
    assert (
        "strict-transport-security"
        in town.ask(None, **{"X-Forwarded-Proto": "https"}).headers
    )
    other = TestClient(town.client.app, client=("8.8.8.8", 1))
    assert (
        "strict-transport-security"
        not in other.get("/healthz", headers={"X-Forwarded-Proto": "https"}).headers
    )
    assert (
        "strict-transport-security"
        in TestClient(town.client.app, base_url="https://x").get("/healthz").headers
    )


def test_web_pages_use_the_api_where_a_setting_names_them() -> None:
    asks = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    assert (
        "access-control-allow-origin"
        not in Town().client.options("/v1/uploads", headers=asks).headers
    )
    town = Town(cors_origins="https://app.example, https://b.example")
    allowed = town.client.options("/v1/uploads", headers=asks)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (
        200,
        "https://app.example",
    )
    assert "access-control-allow-credentials" not in allowed.headers
    refused = town.ask("wrong", Origin="https://app.example")
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (
        401,
        "https://app.example",
    )
    assert (
        "access-control-allow-origin"
        not in town.ask(OPERATOR, Origin="https://evil.example").headers
    )


def test_a_body_is_as_large_as_a_setting_says(town: Town) -> None:
    """Announced or not; and of a client without a key no body is read."""
    headers = {
        "Authorization": f"Bearer {OPERATOR}",
        "Content-Type": "application/json",
    }
    large = json.dumps(PHOTO | {"filename": "a" * 70_000}).encode()
    for body in (large, iter([large[:9], large[9:]])):
        answer = town.client.post("/v1/uploads", content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert town.client.post("/v1/uploads", content=large).status_code == 401
    small = iter([json.dumps(PHOTO).encode()])
    assert (
        town.client.post("/v1/uploads", content=small, headers=headers).status_code
        == 201
    )
