"""How much one user and one address may ask for, and whose address it is."""

from __future__ import annotations

import json

import httpx2
import pytest
import structlog
from fastapi.testclient import TestClient

from handlers.http.auth import buckets
from shared.errors import SettingsError
from tests.support.access_world import OPERATOR, Town
from tests.support.fake_clock import FakeClock


def test_a_user_asks_so_often_a_minute_and_is_told_how_often_still() -> None:
    town = Town(limit_requests_per_min=3)
    (key, _), (other, _) = town.key("ann"), town.key("eve")
    answers = [town.ask(key) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert (
        answers[0].headers["ratelimit-policy"]
        == '"address";q=12000;w=60, "user";q=3;w=60'
    )
    assert answers[0].headers["ratelimit"] == '"address";r=11999;t=1, "user";r=2;t=20'
    refused = answers[3]
    assert (refused.headers["retry-after"], refused.json()["code"]) == (
        "20",
        "too_many_requests",
    )
    assert refused.headers["content-type"] == "application/problem+json"
    assert town.ask(other).status_code == 200
    town.world.clock.advance(20)
    assert [town.ask(key).status_code for _ in range(2)] == [200, 429]


def test_two_keys_of_one_user_share_its_quota() -> None:
    town = Town(limit_requests_per_min=2)
    assert [town.ask(town.key("ann")[0]).status_code for _ in range(3)] == [
        200,
        200,
        429,
    ]


def test_an_address_asks_so_often_a_minute_whatever_its_users() -> None:
    town = Town(limit_address_requests_per_min=2)
    assert [town.ask(town.key(user)[0]).status_code for user in "abc"] == [
        200,
        200,
        429,
    ]


def test_what_is_remembered_of_strangers_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who was longest unseen is forgotten, and begins anew."""
    monkeypatch.setattr(buckets, "MOST", 2)
    quota = buckets.Buckets("test", 1, FakeClock())
    assert [quota.take(who).wait_s for who in ("a", "a", "b", "b", "c")] == [
        0,
        60,
        0,
        60,
        0,
    ]
    assert [quota.take(who).wait_s for who in ("b", "a")] == [60, 0]


def test_the_operator_is_not_limited() -> None:
    town = Town(
        limit_requests_per_min=1,
        limit_address_requests_per_min=1,
        limit_queued_photos=1,
    )
    assert [town.post(OPERATOR).status_code for _ in range(5)] == [201] * 5


def test_anonymous_people_are_told_apart_by_their_address() -> None:
    town = Town(
        allow_anonymous=True, limit_requests_per_min=1, trusted_proxies="192.0.2.0/24"
    )
    answers = [
        town.ask(None, **{"X-Forwarded-For": address})
        for address in ("8.8.8.8", "8.8.4.4", "8.8.8.8")
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 429]


def test_bytes_are_announced_within_a_quota() -> None:
    """One photo larger than the quota is let in, and what it owes is waited for."""
    town = Town(limit_bytes_per_min=2500)
    key, _ = town.key()
    assert [town.post(key).status_code for _ in range(3)] == [201, 201, 429]
    other, _ = town.key("eve")
    assert [town.post(other, bytes=5000).status_code for _ in range(2)] == [201, 429]
    assert town.post(other).headers["retry-after"] == "84"


def test_who_does_not_tell_the_size_announces_the_largest() -> None:
    town = Town(limit_bytes_per_min=2500, max_upload_bytes=1000)
    answers = [town.post(town.key()[0], bytes=None) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 429]
    assert "without a size" in answers[-1].json()["detail"]


def test_photos_wait_within_a_quota() -> None:
    """While the audit log is away, uploads at this process count; no request waits for
    the log.
    """
    town = Town(limit_queued_photos=2)
    key, _ = town.key()
    answers = [town.post(key) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 429]
    assert (answers[2].json()["code"], answers[2].headers["retry-after"]) == (
        "too_many_photos",
        "10",
    )


def test_wrong_keys_are_tried_so_often_a_minute() -> None:
    """Then the address hears 429, the store nothing, and a key that is known works on."""
    town = Town(limit_failures_per_min=3)
    key, _ = town.key()
    late, _ = town.key("eve")
    assert town.ask(key).status_code == 200
    wrong = ["drk_" + f"{number:016x}" + "_" + "a" * 43 for number in range(4)]
    assert [town.ask(text).status_code for text in wrong] == [401, 401, 401, 429]
    assert [town.ask(key).status_code, town.ask(OPERATOR).status_code] == [200, 200]
    assert town.ask(late).status_code == 429
    town.world.clock.advance(60)
    assert town.ask(late).status_code == 200


def test_wrong_tokens_of_notifications_are_tried_so_often_a_minute() -> None:
    """Counted with the API's wrong keys; the right one works all the same, and a
    request without any is refused with 401 only.
    """
    town = Town(limit_failures_per_min=2, webhook_token="the-token")

    def notify(**headers: str) -> httpx2.Response:
        return town.client.post(
            "/events/storage", content=b'{"Records": []}', headers=headers
        )

    with structlog.testing.capture_logs() as lines:
        answers = [notify(authorization="Bearer wrong") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [401, 401, 429, 429]
    assert (answers[2].headers["retry-after"], answers[2].json()["code"]) == (
        "30",
        "too_many_requests",
    )
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == [
        "access.refused"
    ]
    assert town.ask("wrong").status_code == 429
    assert notify(authorization="Bearer the-token").status_code == 200
    assert notify().status_code == 401


def test_runs_of_refusals_are_told_once_a_minute_without_key_user_and_address() -> None:
    town = Town(limit_failures_per_min=2, limit_requests_per_min=2)
    key, document = town.key()
    with structlog.testing.capture_logs() as lines:
        for _ in range(10):
            town.ask("wrong")
            town.ask(key)
    assert [(line["event"], line["network"]) for line in lines] == [
        ("access.refused", "192.0.2.0/24"),
        ("access.limited", "192.0.2.0/24"),
    ]
    assert lines[1] | {"policy": "user", "key_id": document.id} == lines[1]
    logged = json.dumps(lines)
    assert not [
        secret
        for secret in (key, key[21:], document.user_hash, "192.0.2.7")
        if secret in logged
    ]


@pytest.mark.parametrize(
    ("peer", "forwarded", "own"),
    [
        ("8.8.8.8", "9.9.9.9", True),
        ("192.0.2.7", "9.9.9.9", False),
        ("192.0.2.7", "9.9.9.9, 8.8.8.8", True),
        ("192.0.2.7", "8.8.8.8, 192.0.2.9", True),
        ("192.0.2.7", "8.8.8.8, nonsense", False),
        ("::ffff:8.8.8.8", "9.9.9.9", True),
        ("::ffff:192.0.2.7", "8.8.8.8", True),
    ],
)
def test_forwarded_addresses_are_believed_from_trusted_proxies_alone(
    peer: str, forwarded: str, own: bool
) -> None:
    """`own`: is the request counted for 8.8.8.8?"""
    town = Town(peer, trusted_proxies="192.0.2.0/24", limit_address_requests_per_min=1)
    key, _ = town.key()
    town.ask(key, **{"X-Forwarded-For": forwarded})
    again = TestClient(town.client.app, client=("8.8.8.8", 1)).get(
        "/v1/workflows", headers={"Authorization": f"Bearer {key}"}
    )
    assert again.status_code == (429 if own else 200)


def test_one_household_has_one_ipv6_network() -> None:
    town = Town("2001:db8:1:2::1", limit_address_requests_per_min=1)
    key, _ = town.key()
    town.ask(key)
    for address, status in {
        "2001:db8:1:2:ffff::9": 429,
        "2001:db8:1:3::1": 200,
    }.items():
        client = TestClient(town.client.app, client=(address, 1))
        assert (
            client.get(
                "/v1/workflows", headers={"Authorization": f"Bearer {key}"}
            ).status_code
            == status
        )


@pytest.mark.parametrize(
    "setting",
    [
        {"trusted_proxies": "10.0.0.0/33"},
        {"trusted_proxies": "proxy.example"},
        {"cors_origins": "app.example"},
        {"cors_origins": "https://a.example/x"},
    ],
)
def test_settings_that_cannot_be_meant_are_refused_at_the_start(
    setting: dict[str, str],
) -> None:
    with pytest.raises(SettingsError, match="DARKROOM_"):
        Town(**setting).ask(None)
