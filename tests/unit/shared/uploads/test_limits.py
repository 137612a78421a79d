"""Whose limits a photo has, on every way in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from shared.runtime.settings import Settings
from shared.uploads import identity, keys, limits
from tests.support.access_world import Town
from tests.support.upload_world import PEPPER, World, photo

ANN = identity.user_hash("ann", PEPPER)
EVE = identity.user_hash("eve", PEPPER)
TICKET = "6aa1b3f2-0c1d-8e4f-9a5b-2c3d4e5f6071"
SMALL, LARGE = len(photo()) - 1, len(photo()) + 999


def settings(**some: Any) -> Settings:
    return Settings(
        pepper="pepper",
        max_upload_bytes=100,
        max_pixels=200,
        photo_limits=json.dumps(some),
    )


def figures(found: Settings) -> tuple[int, int]:
    return found.max_upload_bytes, found.max_pixels


def test_the_user_counts_before_the_job_before_the_scope_before_everybody() -> None:
    given = settings(
        users={"ann": {"bytes": 10}},
        jobs={"bytes": 300, "pixels": 400},
        scopes={"admin": {"bytes": 500, "pixels": 600}, "upload": {"pixels": 700}},
    )
    of = limits.limits_of
    assert figures(of(given, ANN, of_job=False)) == (10, 200)
    assert figures(of(given, ANN, of_job=True)) == (10, 400)
    assert figures(of(given, EVE, of_job=False)) == (100, 200)
    assert figures(of(given, EVE, True, ["admin"])) == (300, 400)
    assert figures(of(given, EVE, False, ["admin", "upload"])) == (500, 700)
    assert figures(given.widest()) == (500, 700)


def test_what_a_ticket_says_holds_for_its_user_alone() -> None:
    given = settings(scopes={"admin": {"bytes": 500}})
    allowed = limits.limits_of(given, ANN, False, ["admin"])
    said = limits.told(allowed, ANN)
    kept = limits.as_told(given, ANN, said)
    assert kept is not None
    assert figures(kept) == (500, 200)
    assert limits.as_told(given, EVE, said) is None
    assert limits.as_told(given, ANN, said.replace("500", "999")) is None
    assert limits.as_told(given, ANN, limits.NONE) is None


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"user": {}}', '{"users": {"ann": {"bytes": 0}}}']
)
def test_a_slip_is_told_without_a_name(text: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(photo_limits=text)
    assert "ann" not in str(refused.value.errors()[0]["loc"])
    assert refused.value.errors()[0]["msg"].count("ann") == 1, "the example's"


def world(**some: Any) -> World:
    limits_of_some = json.dumps(some)
    return World(settings={"max_upload_bytes": SMALL, "photo_limits": limits_of_some})


def decided(world: World, key: str, **metadata: str) -> str:
    return world.receipt(world.upload(key, photo(), metadata)).decision


def test_a_dropped_photo_has_the_limits_of_its_user_or_job() -> None:
    ours = world(users={"ann": {"bytes": LARGE}}, jobs={"bytes": LARGE})
    job = {"ingest": f"{TICKET}/1"}
    assert decided(ours, "a.png", user="ann") == "queued"
    assert decided(ours, "b.png", user="eve") == "rejected"
    assert decided(ours, "c.png", **job) == "queued"
    few = world(users={"eve": {"pixels": 10}}, jobs={"bytes": LARGE})
    assert decided(few, "d.png", user="eve", **job) == "rejected"


def test_a_tickets_promise_is_kept_when_the_photo_comes() -> None:
    """And nobody else makes one, by metadata of their own."""
    town = Town(
        max_upload_bytes=SMALL,
        photo_limits=json.dumps({"scopes": {"admin": {"bytes": LARGE}}}),
    )
    key, _ = town.key("ann", scopes=("upload", "admin"))
    answer = town.post(key, bytes=LARGE)
    assert answer.status_code == 201, answer.text
    said = answer.json()["post"]["fields"]["x-amz-meta-limits"]
    place = keys.upload(ANN, TICKET)
    assert decided(town.world, place, limits=said) == "queued"
    forged = f"{LARGE}/{LARGE}/{'0' * 32}"
    assert decided(town.world, f"{place}2", limits=forged) == "rejected"
    plain, _ = town.key("eve")
    refused = town.post(plain, bytes=LARGE)
    assert (refused.status_code, refused.json()["code"]) == (422, "too_large")
    assert town.ask(key, "/v1/me").json()["limits"]["upload_bytes"] == LARGE
    assert town.ask(plain, "/v1/me").json()["limits"]["upload_bytes"] == SMALL
