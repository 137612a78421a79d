"""A client's way in memory: upload, prompt, queue, history, view, and taking back."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from handlers import erasure
from handlers.comfyui import names
from handlers.comfyui.errors import Refusal
from shared.errors import Code
from shared.uploads import identity, keys
from shared.uploads.documents import Receipt
from tests.support.access_world import Town
from tests.support.comfyui import Client, colour_prompt, prompt
from tests.support.records import record_of
from tests.support.upload_world import photo


@pytest.fixture
def town() -> Town:
    return Town(comfyui="header")


@pytest.fixture
def ann(town: Town) -> Client:
    return Client(town)


@pytest.fixture(scope="module")
def bob() -> Client:
    """A user whose requests are all refused, so that one app does for all of them."""
    return Client(Town(comfyui="header"), "bob")


def started(town: Town) -> list[Receipt]:
    """The receipts of the tasks that workers were told of."""
    found = []
    for task in town.world.tasks():
        key = keys.receipt(task.upload_id)
        data = town.world.store.read("results", key)
        found.append(Receipt.from_bytes(data, key))
    return found


def work(town: Town, result: bytes = b"the result") -> list[str]:
    """What a worker would do with every task that waits; their ids."""
    store = town.world.store
    done = []
    for receipt in started(town):
        task_id = receipt.task_id or ""
        key = keys.record(task_id)
        if key in store.keys("results"):
            continue
        record = record_of(receipt, town.world.clock.now())
        store.put("results", keys.result(task_id), result, "image/png")
        store.put("results", keys.preview(task_id), b"small", "image/webp")
        store.put("results", key, record.to_bytes(), "text/json")
        done.append(task_id)
    return done


def test_upload_prompt_history_view(town: Town, ann: Client) -> None:
    """The way of the scripts that people copy."""
    assert ann.upload().json() == {
        "name": "photo.png",
        "subfolder": "",
        "type": "input",
    }
    sent = ann.post("/api/prompt", {"prompt": prompt(), "client_id": "me"}).json()
    ident = sent["prompt_id"]
    assert UUID(ident)
    assert sent["node_errors"] == {}
    assert ann.get(f"/history/{ident}").json() == {}
    (waiting,) = ann.get("/queue").json()["queue_pending"]
    assert waiting[1] == ident
    assert waiting[2] == prompt()
    assert waiting[4] == ["5"]
    assert ann.get("/prompt").json() == {"exec_info": {"queue_remaining": 1}}
    (run,) = started(town)
    assert run.workflow
    assert run.workflow.name == "enhance"
    assert run.workflow.params["model"] == "realesrgan-x4plus"
    work(town)
    entry = ann.get(f"/history/{ident}").json()[ident]
    assert entry["status"]["status_str"] == "success"
    (image,) = entry["outputs"]["5"]["images"]
    assert image == {
        "filename": "ComfyUI_00001_.png",
        "subfolder": "",
        "type": "output",
    }
    shown = ann.get("/view?filename=ComfyUI_00001_.png&type=output&subfolder=")
    assert (shown.content, shown.headers["content-type"]) == (
        b"the result",
        "image/png",
    )
    assert shown.headers["cache-control"] == "no-store"
    small = ann.get("/view?filename=ComfyUI_00001_.png&preview=webp;90")
    assert small.content == b"small"
    assert ann.get("/view?filename=photo.png&type=input").content == photo()
    assert ann.get("/queue").json() == {"queue_running": [], "queue_pending": []}
    assert list(ann.get("/history").json()) == [ident]


def test_a_name_stands_for_the_bytes_that_it_was_given_last(
    town: Town, ann: Client
) -> None:
    """As in ComfyUI: the same bytes keep the name, others get a number, or the name
    where they are to overwrite. What was started goes on with its own bytes.
    """
    names = [
        ann.upload(data=data, **fields).json()["name"]
        for data, fields in [
            (photo(), {}),
            (photo(), {}),
            (photo(colour=1), {}),
            (photo(colour=1), {}),
        ]
    ]
    assert names == ["photo.png", "photo.png", "photo (1).png", "photo (1).png"]
    ann.run(prompt())
    assert ann.upload(data=photo(colour=2), overwrite="true").json()["name"] == (
        "photo.png"
    )
    ann.run(prompt())
    sources = [run.source for run in started(town)]
    assert len({source.sha256 for source in sources}) == 2
    for source in sources:
        town.world.store.read(source.bucket, source.key, source.version)


def test_the_same_prompt_again_is_the_same_task(town: Town, ann: Client) -> None:
    ann.upload()
    first, second = ann.run(prompt()), ann.run(prompt())
    assert len({task.task_id for task in town.world.tasks()}) == 1
    work(town)
    files = [
        ann.get(f"/history/{ident}").json()[ident]["outputs"]["5"]["images"][0]
        for ident in (first, second)
    ]
    assert [file["filename"] for file in files] == [
        "ComfyUI_00001_.png",
        "ComfyUI_00002_.png",
    ]
    assert ann.get("/view?filename=ComfyUI_00002_.png").content == b"the result"


def test_what_is_no_photo_is_refused_at_once(bob: Client) -> None:
    answer = bob.upload(data=b"no photo at all")
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "unsupported_format"


@pytest.mark.parametrize(
    "name", ["a/b.png", "..", "", ". .", "a\x01.png", "x" * 300, "C:\\a.png", "\ud800"]
)
def test_a_name_is_never_a_path(name: str) -> None:
    with pytest.raises(Refusal):
        names.checked(name, "image")


@pytest.mark.parametrize("name", ["../secret.png", "..", "x" * 300, "a?.png"])
def test_nor_is_that_of_an_upload(bob: Client, name: str) -> None:
    assert bob.upload(name).status_code == 400


@pytest.mark.parametrize("folder", ["..", "a/../..", "x" * 300, "a\x02"])
def test_nor_is_a_folder(bob: Client, folder: str) -> None:
    assert bob.upload(subfolder=folder).status_code == 400


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("filename=../../access/keys/a.json", 400),
        ("filename=/etc/passwd", 404),
        ("filename=a.png&subfolder=../..", 400),
        ("filename=a.png&type=secret", 400),
        ("filename=", 400),
        ("filename=ComfyUI_00001_.png", 404),
        ("filename=ComfyUI_99999999999999999_.png", 404),
        ("filename=%00", 400),
        ("filename=a.png&channel=a", 400),
    ],
)
def test_view_gives_nothing_but_own_files(bob: Client, query: str, status: int) -> None:
    answer = bob.get(f"/view?{query}")
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "node_errors"}


def test_no_user_sees_anything_of_another(town: Town, ann: Client) -> None:
    """Neither by name nor by id, and taking back takes only one's own."""
    eve = Client(town, "eve")
    ann.upload()
    ident = ann.run(prompt())
    work(town)
    assert ann.get(f"/history/{ident}").json()
    waiting = ann.run(prompt(model="realesr-animevideov3"))
    for path in ("/history", f"/history/{ident}"):
        assert eve.get(path).json() == {}
    assert eve.get("/queue").json() == {"queue_running": [], "queue_pending": []}
    assert eve.get("/prompt").json()["exec_info"]["queue_remaining"] == 0
    for query in ("filename=ComfyUI_00001_.png", "filename=photo.png&type=input"):
        assert ann.get(f"/view?{query}").status_code == 200
        assert eve.get(f"/view?{query}").status_code == 404
    refused = eve.post("/prompt", {"prompt": prompt()})
    assert refused.json()["node_errors"]["1"]["errors"][0]["type"] == (
        "custom_validation_failed"
    )
    eve.post("/queue", {"clear": True})
    eve.post("/queue", {"delete": [waiting]})
    eve.post("/interrupt", {"prompt_id": waiting})
    eve.post("/history", {"clear": True})
    assert len(ann.get("/queue").json()["queue_pending"]) == 1
    assert ident in ann.get("/history").json()


def test_what_waits_can_be_taken_back(town: Town, ann: Client) -> None:
    """But not a task for which another prompt waits, too."""
    ann.upload()
    first, second = ann.run(prompt()), ann.run(prompt())
    assert ann.post("/queue", {"delete": [first]}).status_code == 200
    assert [entry[1] for entry in ann.get("/queue").json()["queue_pending"]] == [second]
    assert ann.post("/queue", {"clear": True}).status_code == 200
    assert ann.get("/queue").json()["queue_pending"] == []
    reasons = [key for key in town.world.store.keys("quarantine") if "reason" in key]
    assert len(reasons) == 1


def test_a_photo_that_failed_is_an_error_of_its_node(town: Town, ann: Client) -> None:
    ann.upload()
    ident = ann.run(prompt())
    (run,) = started(town)
    erasure.end(town.world.ctx, run, Code.CANCELLED)
    entry = ann.get(f"/history/{ident}").json()[ident]
    assert entry["status"]["status_str"] == "error"
    assert entry["outputs"] == {}
    assert entry["status"]["messages"][-1][0] == "execution_interrupted"


def test_erasing_a_photo_takes_its_prompts_along(town: Town, ann: Client) -> None:
    """The graph has the photo's name."""
    ann.upload("grandmother.png")
    ident = ann.run(prompt("grandmother.png"))
    (task,) = work(town)
    assert ann.get(f"/history/{ident}").json()
    erasure.erase(town.world.ctx, task, started(town))
    assert ann.get(f"/history/{ident}").json() == {}
    assert ann.get("/view?filename=ComfyUI_00001_.png").status_code == 404
    store = town.world.store
    kept = b"".join(
        store.read("results", key)
        for key in store.keys("results")
        if key.startswith("comfyui/")
    )
    assert b"grandmother" not in kept


def test_an_id_is_used_once(ann: Client) -> None:
    ann.upload()
    ident = str(uuid4())
    assert ann.run(prompt(), prompt_id=ident) == ident
    again = ann.post("/prompt", {"prompt": prompt(), "prompt_id": ident})
    assert (again.status_code, again.json()["error"]["type"]) == (
        409,
        "prompt_id_exists",
    )
    other = Client(ann.town, "eve")
    other.upload()
    assert other.run(prompt(), prompt_id=ident) == ident


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"prompt": 1}',
        b'{"nodes": [], "links": []}',
        b'{"prompt": {}, "prompt_id": "../x"}',
        b'{"prompt": {"1": {"class_type": "SaveImage"}}, "client_id": 5}',
        b'{"prompt": NaN}',
        b"[" * 100_000,
        b'{"prompt": {"1": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}}",
        b'"' + b"x" * 900_000 + b'"',
        json.dumps({"prompt": {str(n): {} for n in range(10_000)}}).encode(),
        json.dumps({"prompt": colour_prompt("no-such.png")}).encode(),
    ],
)
def test_a_hostile_body_is_refused_in_comfyuis_shape(bob: Client, body: bytes) -> None:
    """Whatever its content type says: scripts send none."""
    answer = bob.town.client.post("/comfyui/prompt", content=body, headers=bob.headers)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert set(error) == {"type", "message", "details", "extra_info"}
    assert error["message"]
    assert error["details"] or answer.json()["node_errors"]
    assert bob.town.world.tasks() == []


def test_a_body_that_is_too_large_is_refused_unread(ann: Client) -> None:
    answer = ann.town.client.post(
        "/comfyui/prompt", content=b"x" * (2 << 20), headers=ann.headers
    )
    assert answer.status_code == 413
    town = Town(comfyui="header", max_upload_bytes=1000)
    assert Client(town).upload(data=b"x" * 200_000).status_code == 413


def test_some_outputs_may_fail_alone(ann: Client) -> None:
    """As in ComfyUI: what is good runs, and the answer names the others."""
    ann.upload()
    graph = prompt()
    graph["6"] = {"class_type": "SaveImage", "inputs": {"images": ["9", 0]}}
    graph["7"] = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
    answer = ann.post("/prompt", {"prompt": graph}).json()
    assert list(answer["node_errors"]) == ["6"]
    (waiting,) = ann.get("/queue").json()["queue_pending"]
    assert waiting[4] == ["5", "7"]


def test_limits_of_a_user_hold(town: Town) -> None:
    """Photos that wait are counted as anywhere."""
    few = Town(comfyui="header", limit_queued_photos=2)
    ann = Client(few)
    ann.upload()
    ann.run(prompt())
    refused = ann.post("/prompt", {"prompt": prompt(model="realesr-animevideov3")})
    assert refused.status_code == 429
    assert refused.json()["error"]["type"] == "too_many_photos"
    assert "retry-after" in refused.headers


def test_object_info_and_system_stats_have_comfyuis_shape(ann: Client) -> None:
    info: dict[str, Any] = ann.get("/object_info").json()
    assert set(info) >= {"LoadImage", "DDColor_Colorize", "SaveImage"}
    required = info["UpscaleModelLoader"]["input"]["required"]
    assert "RealESRGAN_x4plus.pth" in required["model_name"][0]
    one = ann.get("/api/object_info/SaveImage").json()
    assert one["SaveImage"]["output_node"] is True
    assert ann.get("/object_info/Unknown").json() == {}
    stats = ann.get("/system_stats").json()
    assert set(stats) == {"system", "devices"}


def test_the_history_is_bounded(town: Town, ann: Client, monkeypatch: Any) -> None:
    from handlers.comfyui import shelf

    monkeypatch.setattr(shelf, "MOST_PROMPTS", 2)
    ann.upload()
    for size in (512, 544, 576, 608):
        ann.run(colour_prompt(size=size))
        work(town)
        town.world.clock.advance(60)
        ann.get("/history")
    ann.run(prompt())
    user = identity.user_hash("ann", b"pepper")
    kept = [
        key
        for key in town.world.store.keys("results")
        if key.startswith(f"comfyui/{user}/prompts/")
    ]
    assert len(kept) == 2
