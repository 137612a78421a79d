"""What the operator is told of the whole: by the real broker, store and log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient

from handlers.http.auth.principal import SCOPES, Principal
from handlers.reconcile.watermark import Watermark
from infra.backup.process import note
from infra.backup.run import Report
from shared.broker import dead_letters
from shared.broker.dead_letter import DeadLetter
from shared.broker.publisher import Publisher
from shared.broker.topology import LOG
from shared.offers import Announcement
from shared.runtime.settings import Settings
from shared.uploads import keys
from tests.support.api_world import ApiWorld
from tests.support.databases import corner

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture
def world(servers: Any) -> Iterator[ApiWorld]:
    """With a corner of the broker of this test's own."""
    own = servers.settings.model_dump() | {"broker_url": corner(servers.settings)}
    world = ApiWorld(Settings.model_validate(own))
    yield world
    dead_letters.drop(world.settings)


@pytest.fixture
def operator(world: ApiWorld) -> TestClient:
    return world.client(Principal("0" * 64, True, SCOPES, "operator"))


def test_the_operator_sees_queues_workers_sweep_and_backup(
    world: ApiWorld, operator: TestClient
) -> None:
    bucket = world.settings.bucket_results
    said = Announcement(
        host="of-a-test", release="1", engine="ncnn", device="cpu", steps={}, models={}
    )
    world.store.put(bucket, said.place(), said.to_bytes(), "application/json")
    passed = Watermark(since=NOW).to_bytes()
    world.store.put(bucket, keys.SWEEP, passed, "application/json")
    report = Report("vault", begun=NOW.isoformat(), seconds=2.5, objects=7)
    note(world.settings, report)
    publisher = Publisher(world.settings)
    publisher.publish(LOG, b"waits")
    found = operator.get("/v1/status").json()
    waiting = {queue["name"]: queue for queue in found["queues"]}
    assert waiting[LOG]["messages"] == 1
    assert waiting[LOG]["oldest_s"] < 60
    (worker,) = [each for each in found["workers"] if each["host"] == "of-a-test"]
    assert (worker["device"], worker["workflows"]) == ("cpu", [])
    assert found["sweep"]["settled_until"] == "2026-05-04T12:00:00Z"
    assert found["sweep"]["passed_at"] is not None
    assert found["backup"]["objects"] == 7
    world.store.delete(bucket, said.place())
    # While a pass is under way, it has not ended.
    half = Watermark(since=NOW, cursor="receipts/5", ahead=NOW).to_bytes()
    world.store.put(bucket, keys.SWEEP, half, "application/json")
    assert operator.get("/v1/status").json()["sweep"]["passed_at"] is None
    world.store.delete(bucket, keys.SWEEP)
    world.store.delete(bucket, keys.BACKUP)


def test_a_service_that_is_away_costs_its_own_part_alone(servers: Any) -> None:
    away = {"broker_url": "redis://127.0.0.1:1/0"}
    settings = Settings.model_validate(servers.settings.model_dump() | away)
    client = ApiWorld(settings).client(Principal("0" * 64, True, SCOPES, "operator"))
    found = client.get("/v1/status")
    assert found.status_code == 200
    assert found.json()["queues"] is None
    assert found.json()["workers"] is not None


def test_the_operator_puts_a_dead_letter_back(
    world: ApiWorld, operator: TestClient
) -> None:
    publisher = Publisher(world.settings)
    letter = DeadLetter.of(LOG, b"no event", {}, "bad_message", "no JSON", NOW)
    letter.publish(publisher)
    (shown,) = operator.get("/v1/dead").json()["items"]
    assert shown["id"] == letter.id
    assert (shown["queue"], shown["code"]) == (LOG, "bad_message")
    done = operator.post("/v1/dead/retry", json={"ids": [letter.id]})
    assert done.json() == {"retried": 1}
    assert operator.get("/v1/dead").json() == {"items": []}
    again = operator.post("/v1/dead/retry", json={"ids": [letter.id]})
    assert (again.status_code, again.json()["code"]) == (404, "not_found")
