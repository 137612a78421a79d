"""The state directory that an earlier release left (`tests/support/old_state.py` made it),
under the present `darkroom up`.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.local import postgres
from shared.runtime.settings import Settings
from tests.conftest import darkroom
from tests.support.old_state import ARCHIVE, IDEMPOTENCY, REQUEST, contents, photo
from tests.support.waiting import eventually

SAME = (
    "task_id",
    "upload_time",
    "image_filename",
    "workflow_type",
    "status",
    "error_code",
    "sha256",
    "width",
    "user_id",
)
"""Of a row of the log: what never changes any more."""


def unpack(folder: Path) -> None:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="fully_trusted")
    data = folder / "postgres"
    if os.geteuid() == 0:
        postgres.make_user(postgres.USER)
        for path in (data, *data.rglob("*")):
            shutil.chown(path, postgres.USER)


@pytest.fixture(scope="module")
def upgraded(
    state_dir: Callable[[str], Path],
) -> Iterator[tuple[Settings, dict[str, Any]]]:
    """A stack of today in that directory, and what was there before."""
    folder = state_dir("old")
    unpack(folder)
    expected = json.loads((folder / "expected.json").read_text())
    up = darkroom("up", "--detach", state_dir=folder)
    try:
        assert up.returncode == 0, up.stderr
        yield Settings.load(state_dir=folder), expected
    finally:
        darkroom("down", state_dir=folder)


@pytest.fixture
def ann(upgraded: tuple[Settings, dict[str, Any]]) -> Iterator[httpx.Client]:
    """Whoever holds the key that the earlier release drew."""
    settings, expected = upgraded
    headers = {"Authorization": f"Bearer {expected['key']}"}
    with httpx.Client(
        base_url=settings.api_url, headers=headers, timeout=120
    ) as client:
        yield client


def test_every_object_is_there(upgraded: tuple[Settings, dict[str, Any]]) -> None:
    """Originals, results, records and what was refused: byte for byte."""
    settings, expected = upgraded
    assert len(expected["contents"]) >= 8
    found = contents(settings.variables())
    assert {name: found.get(name) for name in expected["contents"]} == expected[
        "contents"
    ]


def test_every_row_is_there(upgraded: tuple[Settings, dict[str, Any]]) -> None:
    """The log, by the operator's key, which is the same."""
    settings, expected = upgraded
    rows = json.loads(darkroom("tasks", "--json", state_dir=settings.state_dir).stdout)

    def facts(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
        return sorted((tuple(row[name] for name in SAME) for row in rows), key=str)

    ids = {row["task_id"] for row in expected["rows"]}
    assert facts([row for row in rows if row["task_id"] in ids]) == facts(
        expected["rows"]
    )


def test_the_key_opens_the_door_to_what_is_its_users(
    upgraded: tuple[Settings, dict[str, Any]], ann: httpx.Client
) -> None:
    """Her ticket has ended well, she has her result and nobody else's; the same wish is
    the same ticket.
    """
    _, expected = upgraded
    state = ann.get(f"/v1/uploads/{expected['ticket']}").raise_for_status().json()
    assert (state["status"], state["task_id"]) == ("success", expected["task"])
    record = ann.get(f"/v1/tasks/{expected['task']}/record").raise_for_status().json()
    link = ann.get(f"/v1/tasks/{expected['task']}/result").headers["location"]
    assert httpx.get(link, timeout=120).raise_for_status().content[:4] == b"\x89PNG"
    assert record["width"] == 96
    mine = ann.get("/v1/tasks").raise_for_status().json()["items"]
    assert [row["task_id"] for row in mine] == [expected["task"]]
    again = ann.post(
        "/v1/uploads",
        json=REQUEST | {"bytes": len(photo(100))},
        headers={"Idempotency-Key": IDEMPOTENCY},
    )
    assert again.json()["ticket"] == expected["ticket"], again.text


def test_a_new_photo_is_restored(
    upgraded: tuple[Settings, dict[str, Any]], ann: httpx.Client
) -> None:
    """By the old key, with the old pseudonym."""
    data = photo(200)
    ticket = (
        ann.post("/v1/uploads", json=REQUEST | {"bytes": len(data)})
        .raise_for_status()
        .json()
    )
    form = ticket["post"]
    httpx.post(
        form["url"], data=form["fields"], files={"file": ("new.png", data)}, timeout=120
    ).raise_for_status()

    def ended() -> bool:
        status = ann.get(f"/v1/uploads/{ticket['ticket']}").json()["status"]
        assert status not in ("rejected", "failed")
        return bool(status == "success")

    eventually(ended, "the new photo", 240)


def test_the_same_bytes_are_the_same_task(
    upgraded: tuple[Settings, dict[str, Any]], tmp_path: Path
) -> None:
    """Nothing that was restored by the earlier release is computed again."""
    settings, expected = upgraded
    (tmp_path / "first-again.png").write_bytes(photo(0))
    command = [
        "submit",
        str(tmp_path / "first-again.png"),
        "--workflow=fast",
        '--params={"scale": 2}',
        "--wait",
    ]
    (told,) = json.loads(
        darkroom(*command, "--json", state_dir=settings.state_dir).stdout
    )
    assert told["task_id"] in {row["task_id"] for row in expected["rows"]}
