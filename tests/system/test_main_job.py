"""The main job on the real stack, seen from outside: photos dropped into a bucket come
back restored.
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from infra.local.state import Pids
from shared import models
from shared.runtime.settings import Settings
from shared.uploads import identity
from tests.conftest import darkroom
from tests.support.client import Client, photo
from tests.support.waiting import eventually

KEYS = [
    "plain.png",
    "with blank.png",
    "a+b.png",
    "100%.png",
    "%2F%20.png",
    "#1.png",
    "incoming/fast/中文 照片.png",
    # 1,024 bytes
    "🖼️/é e\u0301.png",
    "quote'\".png",
    "no extension",
    "/".join(["x" * 204] * 5),
]


def upload_id(key: str, etag: str) -> str:
    return identity.upload_id("uploads", key, etag)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_that_the_store_accepts_works(client: Client, key: str) -> None:
    upload = upload_id(key, client.put(key, photo()))
    record = client.record(upload)
    assert record["source"]["key"] == key
    assert client.result(upload).size == (160, 120)


def test_record_result_preview_and_row_agree(client: Client) -> None:
    """One photo, all that is kept of it, by the contracts' own words."""
    data = photo(50, 20)
    upload = upload_id(
        "agree.png",
        client.put(
            "agree.png", data, workflow="fast", params='{"scale": 2}', user="ann"
        ),
    )
    record = client.record(upload)
    result = client.read("results", record["result_key"])
    assert result is not None
    row = client.row(upload, "success")
    assert record["result_sha256"] == hashlib.sha256(result).hexdigest()
    assert (
        record["source"]["sha256"] == row["sha256"] == hashlib.sha256(data).hexdigest()
    )
    assert (
        (record["width"], record["height"]) == client.result(upload).size == (100, 40)
    )
    assert row["params"] == record["workflow"]["params"]
    assert row["params"]["scale"] == 2
    assert row["signature"] == record["workflow"]["signature"]
    assert row["user_id"] == record["user_hash"] != "ann"
    assert (row["workflow_type"], row["attempts"], row["engine"]) == ("fast", 1, "ncnn")
    assert row["result_url"] == f"s3://results/{record['result_key']}"
    assert (
        identity.task_id(record["user_hash"], row["sha256"], row["signature"])
        == record["task_id"]
    )
    assert client.read("results", f"previews/{record['task_id']}.webp")


def test_the_pixels_are_those_of_the_network_run_by_hand(client: Client) -> None:
    """Same weights, ncnn called by hand on the whole picture: the same within rounding,
    without a seam.
    """
    import ncnn  # part of the base install: its absence is a failure, not a skip

    from gpu_worker.models import locate

    source = photo(150, 110, seed=3)
    upload = upload_id("pixels.png", client.put("pixels.png", source, workflow="fast"))
    model = models.get("realesr-animevideov3")
    net = ncnn.Net()
    net.load_param(str(locate(model, "ncnn-param", Settings())))
    net.load_model(str(locate(model, "ncnn-bin", Settings())))
    with Image.open(io.BytesIO(source)) as image:
        pixels = np.ascontiguousarray(
            np.asarray(image).transpose(2, 0, 1).astype(np.float32) / 255
        )
    extractor = net.create_extractor()
    extractor.input("data", ncnn.Mat(pixels))
    _, out = extractor.extract("output")
    expected = np.clip(np.array(out).transpose(1, 2, 0) * 255, 0, 255).round()
    difference = np.abs(np.asarray(client.result(upload)).astype(float) - expected)
    assert difference.mean() < 0.05
    assert difference.max() <= 1


def test_the_same_bytes_twice_are_restored_once(client: Client) -> None:
    """One inference, two rows; the second says `duplicate` and shares the result."""
    data = photo(60, 60)
    first = upload_id("twin-1.png", client.put("twin-1.png", data))
    second = upload_id("twin-2.png", client.put("twin-2.png", data))
    tasks = {client.receipt(first)["task_id"], client.receipt(second)["task_id"]}
    assert len(tasks) == 1
    rows = [client.row(upload, "success", "duplicate") for upload in (first, second)]
    assert sorted(row["status"] for row in rows) == ["duplicate", "success"]
    assert rows[0]["result_url"] == rows[1]["result_url"]


def test_a_burst_survives_a_killed_worker(client: Client, main_stack: Path) -> None:
    """kill -9 of the worker in the middle of 40 photos: nothing lost, nothing stored
    twice, every row right.
    """
    uploads = []
    for number in range(40):
        key = f"burst/{number}.png"
        uploads.append(upload_id(key, client.put(key, photo(48, 48), workflow="fast")))
    eventually(
        lambda: (
            len(client.rows("status = 'success' and image_filename ~ '^[0-9]+.png$'"))
            >= 5
            or None
        ),
        "5 rows",
        120,
    )
    worker_of(main_stack).kill()
    records = [client.record(upload) for upload in uploads]
    assert {record["upload_id"] for record in records} == set(uploads)
    rows = [client.row(upload, "success") for upload in uploads]
    # only what was in the dead worker's hands
    assert sum(row["attempts"] for row in rows) <= len(uploads) + 4
    eventually(lambda: not client.keys("results", "claims/") or None, "claims given up")


def worker_of(folder: Path) -> psutil.Process:
    """As the supervisor knows it: a process that the worker is starting looks like the
    worker for a moment.
    """
    found = eventually(lambda: Pids(folder).alive().get("worker"), "a worker")
    assert found is not None
    return found


def test_twenty_versions_of_one_key(client: Client) -> None:
    """The last one wins; each other ended as its own bytes or as overwritten, unless
    nobody saw it in time.
    """
    sent = {}
    for _ in range(20):
        data = photo(24, 24)
        last = upload_id("often.png", client.put("often.png", data, workflow="fast"))
        sent[last] = hashlib.sha256(data).hexdigest()
    assert client.record(last)["source"]["sha256"] == sent[last]
    assert client.row(last, "success")["sha256"] == sent[last]
    ends = {
        upload: end
        for upload in sent
        if (end := eventually(lambda u=upload: settled(client, u), upload, 120))
    }
    assert len(ends) == 20
    for upload, end in ends.items():
        if end == "restored":
            assert client.record(upload)["source"]["sha256"] == sent[upload]
    counts = {end: list(ends.values()).count(end) for end in sorted(set(ends.values()))}
    print(f"versions=20 {counts}")
    eventually(lambda: not client.keys("results", "claims/") or None, "claims given up")


def settled(client: Client, upload: str) -> str | None:
    """The end of one version; `unseen`: gone before anybody looked at it."""
    receipt = client.json("results", f"receipts/{upload}.json")
    if receipt is None:
        return "unseen"
    if client.json("results", f"processed/{receipt['task_id']}.json"):
        return "restored"
    reason = client.json("quarantine", f"{upload}/reason.json")
    if reason is None:
        return None
    assert reason["error_code"] in ("source_changed", "source_missing")
    return "overwritten"


def test_results_trigger_nothing(client: Client) -> None:
    """Every receipt is of an upload: Darkroom's own writing never comes back as work."""
    sources = {
        client.json("results", key)["source"]["bucket"]
        for key in client.keys("results", "receipts/")
    }
    assert sources == {"uploads"}


def test_commands_of_the_stack(
    main_stack: Path, tmp_path: Path, client: Client
) -> None:
    """`submit --wait --out --json`, `tasks`, `task`: JSON alone on stdout, exit status
    by outcome.
    """
    good = tmp_path / "good.png"
    good.write_bytes(photo())
    done = darkroom(
        "submit",
        str(good),
        "--wait",
        "--out",
        str(tmp_path / "out"),
        "--json",
        state_dir=main_stack,
    )
    assert done.returncode == 0, done.stderr
    (submitted,) = json.loads(done.stdout)
    assert submitted["status"] == "restored"
    with Image.open(submitted["saved_as"]) as image:
        assert image.size == (160, 120)
    client.row(submitted["upload_id"], "success")
    listed = json.loads(
        darkroom("tasks", "--json", "--limit", "5", state_dir=main_stack).stdout
    )
    assert submitted["task_id"] in {row["task_id"] for row in listed}
    shown = json.loads(
        darkroom("task", submitted["task_id"], "--json", state_dir=main_stack).stdout
    )
    assert submitted["task_id"] in json.dumps(shown)
    bad = tmp_path / "bad.jpg"
    bad.write_text("not a photo")
    failed = darkroom("submit", str(bad), "--wait", "--json", state_dir=main_stack)
    assert failed.returncode == 1
    assert json.loads(failed.stdout)[0]["error_code"] == "unsupported_format"
    assert (
        darkroom(
            "submit", str(good), "--workflow", "nope", state_dir=main_stack
        ).returncode
        == 2
    )
    assert (
        darkroom(
            "task", "00000000-0000-0000-0000-000000000000", state_dir=main_stack
        ).returncode
        == 1
    )
