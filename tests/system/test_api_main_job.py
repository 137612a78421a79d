"""An app's way through the API, on a running stack: ticket, form, events, result; and a
photo taken back.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from infra.client import DarkroomClient
from shared.errors import NotFound, SettingsError
from shared.runtime.settings import Settings
from tests.support.client import photo
from tests.support.waiting import eventually


@pytest.fixture
def api(stack: Settings) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {stack.api_key.get_secret_value()}"}
    with httpx.Client(base_url=stack.api_url, headers=headers, timeout=60) as client:
        yield client


def submit(api: httpx.Client, data: bytes, workflow: str = "fast") -> tuple[str, str]:
    """Ticket and, as soon as it was decided on, task."""
    asked = {
        "filename": "g.png",
        "content_type": "image/png",
        "workflow": workflow,
        "priority": "interactive",
    }
    issued = api.post("/v1/uploads", json=asked).json()
    form = issued["post"]
    sent = httpx.post(
        form["url"],
        data=form["fields"],
        files={"file": ("g.png", data, "image/png")},
        timeout=60,
    )
    assert sent.status_code == 201, sent.text
    ticket = issued["ticket"]
    task = eventually(
        lambda: api.get(f"/v1/uploads/{ticket}").json().get("task_id"),
        "a decision",
        120,
    )
    return ticket, task


def events(
    api: httpx.Client, task: str, **headers: str
) -> list[tuple[str, str, dict[str, Any]]]:
    """(id, event, data) until the stream ends."""
    with api.stream("GET", f"/v1/tasks/{task}/events", headers=headers) as stream:
        assert stream.status_code == 200, stream.read()
        blocks = "".join(stream.iter_text()).strip().split("\n\n")
    told = [
        dict(line.split(": ", 1) for line in block.splitlines())
        for block in blocks
        if block.startswith("id")
    ]
    return [(event["id"], event["event"], json.loads(event["data"])) for event in told]


def test_ticket_form_events_result(api: httpx.Client) -> None:
    """The stream ends with the photo; the result is behind a link that needs no key."""
    ticket, task = submit(api, photo())
    *_, (ident, name, data) = events(api, task)
    assert (ident, name, data["status"]) == ("end", "finished", "success")
    assert api.get(f"/v1/uploads/{ticket}").json() == {
        "ticket": ticket,
        "status": "success",
        "task_id": task,
    }
    link = api.get(f"/v1/tasks/{task}/result").headers["location"]
    assert httpx.get(link).content.startswith(b"\x89PNG")
    again = api.get(f"/v1/tasks/{task}/events", headers={"Last-Event-ID": "end"})
    assert again.status_code == 204


def test_a_photo_in_work_is_taken_back(api: httpx.Client) -> None:
    """Its progress is seen tile by tile; the worker puts it down, and the next photo
    goes on.
    """
    _, task = submit(api, photo(2600, 2000))
    seen: list[float] = []

    def works() -> bool:
        with api.stream("GET", f"/v1/tasks/{task}/events") as stream:
            for line in stream.iter_lines():
                if line.startswith("data"):
                    seen.append(json.loads(line.partition(": ")[2])["progress"])
                if seen and seen[-1] > 0:
                    return True
        return False

    eventually(works, "progress", 120)
    assert seen[-1] < 1
    assert api.delete(f"/v1/tasks/{task}").json()["code"] == "cancelled"
    *_, (_, name, data) = events(api, task)
    assert (name, data["status"], data["error"]["code"]) == (
        "finished",
        "failed",
        "cancelled",
    )
    _, following = submit(api, photo())
    assert events(api, following)[-1][2]["status"] == "success"
    row = eventually(
        lambda: next(
            (
                row
                for row in api.get(f"/v1/tasks/{task}").json().get("uploads", [])
                if row["error_code"]
            ),
            None,
        ),
        "row",
    )
    assert (row["status"], row["error_code"]) == ("failed", "cancelled")


def test_what_was_restored_is_erased(api: httpx.Client) -> None:
    ticket, task = submit(api, photo())
    assert events(api, task)[-1][2]["status"] == "success"
    assert api.delete(f"/v1/tasks/{task}").status_code == 409
    assert api.delete(f"/v1/tasks/{task}", params={"erase": True}).status_code == 200
    assert api.get(f"/v1/tasks/{task}/result").status_code == 404
    assert api.get(f"/v1/uploads/{ticket}").json()["status"] in ("waiting", "expired")
    eventually(
        lambda: (
            api.get(f"/v1/tasks/{task}")
            .json()
            .get("uploads", [{"image_filename": ""}])[0]["image_filename"]
            is None
        ),
        "a blank row",
    )


def test_a_preview_shows_what_the_photo_will_be(api: httpx.Client) -> None:
    """A region before the whole: the very pixels of the result there, and the signature
    of its record.
    """
    ticket, task = submit(api, photo(256, 192))
    asked = {
        "source": {"ticket": ticket},
        "workflow": "fast",
        "region": {"x": 64, "y": 64, "width": 96, "height": 64},
    }
    begun = api.post("/v1/previews", json=asked).json()
    for each in (begun["task_id"], task):
        assert events(api, each)[-1][2]["status"] == "success"
    records = [
        api.get(f"/v1/tasks/{each}/record").json() for each in (begun["task_id"], task)
    ]
    assert [record["workflow"]["signature"] for record in records] == [
        begun["signature"]
    ] * 2
    part, whole = (
        np.asarray(
            Image.open(
                io.BytesIO(
                    httpx.get(
                        api.get(f"/v1/tasks/{each}/result").headers["location"]
                    ).content
                )
            )
        )
        for each in (begun["task_id"], task)
    )
    assert part.shape == (256, 384, 3)
    # At the edges of a region the network misses the neighbourhood that it has in the
    # whole photo.
    inner, same = part[64:-64, 64:-64].astype(int), whole[320:448, 320:576].astype(int)
    assert np.abs(inner - same).mean() < 1
    assert api.get(f"/v1/uploads/{ticket}").json()["task_id"] == task
    assert begun["task_id"] not in [
        row["task_id"] for row in api.get("/v1/tasks").json()["items"]
    ]
    assert api.delete(f"/v1/tasks/{task}", params={"erase": True}).status_code == 200
    assert api.get(f"/v1/tasks/{begun['task_id']}/result").status_code == 404


def test_the_client_goes_the_whole_way(stack: Settings, tmp_path: Path) -> None:
    """From a file to the result's bytes, the log, and everything taken away again."""
    path = tmp_path / "client.png"
    path.write_bytes(photo(48, 32))
    key = stack.api_key.get_secret_value()
    with DarkroomClient(stack.api_url, key, store_url=stack.s3_public_url) as client:
        ticket = client.submit(path, workflow="fast", params={"scale": 2})
        assert client.submit(path, workflow="fast", params={"scale": 2}) == ticket
        state = client.wait(ticket, 120)
        assert state.restored
        assert state.task_id
        with Image.open(io.BytesIO(client.result(state.task_id))) as image:
            assert (image.format, image.size) == ("PNG", (96, 64))
        finished = partial(client.tasks, status="success")
        eventually(
            lambda: any(row["task_id"] == state.task_id for row in finished()),
            "the row of the log",
            60,
        )
        assert client.task(state.task_id)["uploads"][0]["status"] == "success"
        with pytest.raises(SettingsError, match="restored already"):
            client.cancel(state.task_id)
        client.erase(state.task_id)
        with pytest.raises(NotFound):
            client.result(state.task_id)
