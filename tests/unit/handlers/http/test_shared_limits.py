"""Limits that all processes of the API count together, on a real server of the Redis
protocol.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from handlers.http.auth import limit_store
from handlers.http.auth.buckets import Buckets
from handlers.http.auth.limit_store import LimitStore
from shared.errors import SettingsError
from shared.runtime.retry import RetryPolicy
from shared.runtime.settings import Settings
from tests.support.access_world import Town
from tests.support.brokers import Valkey, free_port
from tests.support.fake_clock import FakeClock
from tests.support.waiting import eventually


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    server = Valkey()
    server.start()
    yield server
    server.stop()


def process(valkey: Valkey, **settings: Any) -> Town:
    """One process of the API, with a memory and a bucket of its own."""
    return Town(limits_url=valkey.url, **settings)


def test_all_processes_count_together(valkey: Valkey) -> None:
    """Whichever a user asks, and however often it is started again."""
    processes = [process(valkey, limit_requests_per_min=3) for _ in range(4)]
    answers = [town.ask(town.key("ann")[0]) for town in processes]
    statuses = [answer.status_code for answer in answers]
    assert statuses == [200, 200, 200, 429]
    *accepted, refused = answers
    for left, answer in zip((2, 1, 0), accepted, strict=True):
        assert f'"user";r={left};' in answer.headers["ratelimit"]
    wait_s = int(refused.headers["retry-after"])
    assert 1 <= wait_s <= 20
    other = processes[0]
    assert other.ask(other.key("eve")[0]).status_code == 200


def test_wrong_keys_are_counted_together(valkey: Valkey) -> None:
    processes = [process(valkey, limit_failures_per_min=2) for _ in range(3)]
    answers = [town.ask("wrong").status_code for town in processes]
    assert answers == [401, 401, 429]


def test_a_bucket_is_refilled_by_the_servers_clock(valkey: Valkey) -> None:
    """And one photo larger than the quota is let in, whose rest is owed."""
    quota = Buckets("bytes", 60_000, FakeClock(), LimitStore(valkey.url))
    assert quota.take("ann", 60_100).wait_s == 0
    refused = quota.take("ann", 1)
    assert (refused.left, refused.wait_s) == (0, 1)
    assert quota.is_empty("ann")
    eventually(lambda: not quota.is_empty("ann"), "some bytes more")


def test_a_bucket_that_is_full_again_is_forgotten(valkey: Valkey) -> None:
    Buckets("user", 6000, FakeClock(), LimitStore(valkey.url)).take("ann")
    with valkey.client() as client:
        eventually(lambda: not client.keys("darkroom:limits:*"), "an empty server")


def test_a_store_that_is_away_refuses_no_request_and_is_reported_once(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process counts for itself then; a store that is back is used again."""
    monkeypatch.setattr(limit_store, "POLICY", RetryPolicy(base_s=0.01, cap_s=0.01))
    town = process(valkey, limit_requests_per_min=2)
    key, _ = town.key()
    assert [town.ask(key).status_code for _ in range(3)] == [200, 200, 429]
    valkey.kill()
    with structlog.testing.capture_logs() as lines:
        answers = [town.ask(key).status_code for _ in range(3)]
        assert answers == [200, 200, 429]
        valkey.start()
        eventually(lambda: _reported(town, key, lines), "the store's return")
    events = [line["event"] for line in lines if line["event"].startswith("limits")]
    assert events == ["limits.store_lost", "limits.store_back"]


def _reported(town: Town, key: str, lines: Any) -> bool:
    town.ask(key)
    return any(line["event"] == "limits.store_back" for line in lines)


def test_a_store_that_hangs_holds_no_request_up(valkey: Valkey) -> None:
    """It is called once, for a quarter of a second."""
    town = process(valkey)
    key, _ = town.key()
    assert town.ask(key).status_code == 200
    valkey.freeze()
    try:
        with structlog.testing.capture_logs() as lines:
            assert town.ask(key).status_code == 200
        lost = [line for line in lines if line["event"] == "limits.store_lost"]
        assert [line["error"] for line in lost] == ["TimeoutError"]
    finally:
        valkey.thaw()


@pytest.mark.parametrize(
    ("settings", "is_shared"),
    [
        ({"broker_url": "redis://127.0.0.1:1/0"}, True),
        ({"broker_url": "rediss://127.0.0.1:1/0"}, True),
        ({"broker_url": "amqp://127.0.0.1:1//"}, False),
        ({"broker_url": "sqs://"}, False),
        ({"broker_url": "sqs://", "limits_url": "redis://127.0.0.1:1/0"}, True),
    ],
)
def test_the_broker_is_the_store_if_it_speaks_the_protocol(
    settings: dict[str, Any], is_shared: bool
) -> None:
    store = LimitStore.of(Settings(**settings))
    assert (store is not None) == is_shared


def test_a_url_that_is_none_is_refused_at_the_start() -> None:
    with pytest.raises(SettingsError, match="DARKROOM_LIMITS_URL"):
        LimitStore.of(Settings(limits_url=f"http://127.0.0.1:{free_port()}"))
