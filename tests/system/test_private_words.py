"""What is somebody's own stays where it belongs: no key and no name of a user or file
is in a log or dead letter.
"""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import redis

from shared import access
from shared.runtime.settings import Settings
from shared.uploads import identity
from tests.conftest import darkroom
from tests.support.client import photo
from tests.support.waiting import eventually

PERSON, FILE, FOLDER = "wilhelmina-zebra", "giraffe-at-the-lake", "private-holidays"


def test_no_log_line_holds_a_key_a_users_name_or_a_files_name(stack: Settings) -> None:
    """After an upload that is restored, one that is refused, wrong keys and wrong
    requests, by API and by bucket.
    """
    folder = stack.state_dir
    made = json.loads(
        darkroom("keys", "create", "--user", PERSON, "--json", state_dir=folder).stdout
    )
    headers = {"Authorization": f"Bearer {made['key']}"}
    with httpx.Client(base_url=stack.api_url, headers=headers, timeout=120) as client:
        for data in (photo(), b"no picture at all"):
            wanted = {
                "filename": f"{FILE}.png",
                "content_type": "image/png",
                "workflow": "fast",
            }
            ticket = client.post("/v1/uploads", json=wanted).json()
            form, file = ticket["post"], {"file": (f"{FILE}.png", data, "image/png")}
            assert (
                httpx.post(
                    form["url"], data=form["fields"], files=file, timeout=120
                ).status_code
                == 201
            )
            at = f"/v1/uploads/{ticket['ticket']}"
            eventually(
                lambda at=at: (
                    client.get(at).json()["status"] in ("success", "rejected")
                ),
                "its end",
                120,
            )
        client.get(
            "/v1/tasks", headers={"Authorization": f"Bearer {made['key'][:-1]}-"}
        )
        client.post("/v1/uploads", json={"filename": FILE, "content_type": FILE})
        client.post(
            "/v1/uploads",
            content=f"{{{FILE}",
            headers={"Content-Type": "application/json"},
        )
        client.get(f"/v1/tasks/{PERSON}")
        client.get(f"/v1/{FOLDER}/{FILE}")
    sent = darkroom(
        "submit",
        str(_picture(folder)),
        "--workflow",
        "fast",
        "--wait",
        state_dir=folder,
    )
    assert sent.returncode == 0, sent.stderr

    parsed = access.parse(made["key"])
    assert parsed is not None
    pepper = stack.pepper.get_secret_value()
    secrets = (
        made["key"],
        parsed[1],
        stack.api_key.get_secret_value(),
        pepper,
        stack.webhook_token.get_secret_value(),
        stack.s3_secret_key.get_secret_value(),
    )
    words = [word.encode() for word in (PERSON, FILE, FOLDER, *secrets)]
    pseudonym = identity.user_hash(PERSON, pepper.encode()).encode()
    log = folder / "logs" / "handlers.log"
    eventually(
        lambda: b"upload.rejected" in log.read_bytes(), "the log line of the rejection"
    )
    places = {
        path.name: path.read_bytes() for path in (folder / "logs").iterdir()
    } | _dead_letters(stack)
    assert {"handlers.log", "recorder.log", "sweep.log"} <= set(places)
    assert [
        (name, word) for name, text in places.items() for word in words if word in text
    ] == []
    # The store names the keys that it deletes, such as that of what was refused, and
    # these begin with the pseudonym.
    assert [
        name
        for name, text in places.items()
        if pseudonym in text and name != "seaweedfs.log"
    ] == []


def _picture(folder: Path) -> Path:
    path = folder / FOLDER / f"{FILE}.png"
    path.parent.mkdir()
    path.write_bytes(photo())
    return path


def _dead_letters(stack: Settings) -> dict[str, bytes]:
    """Everything in the queues that nobody reads, as it lies in the broker."""
    with redis.Redis.from_url(stack.broker_url.get_secret_value()) as broker:
        names = [
            name for name in broker.scan_iter("*dead*") if broker.type(name) == b"list"
        ]
        return {name.decode(): b"\n".join(broker.lrange(name, 0, -1)) for name in names}
