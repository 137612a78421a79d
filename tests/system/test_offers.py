"""What is offered, runs: on a stack as the base install has it, and with workers whose
models come and go.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from handlers.context import Context
from handlers.intake.decision import Decision
from handlers.intake.notifications import UploadEvent
from handlers.on_upload import on_upload
from handlers.reconcile.due_retries import DueRetries
from shared import models, offers
from shared.broker.dead_letters import letters
from shared.models import registry
from shared.runtime.settings import Settings
from shared.uploads import keys
from shared.uploads.claims import latest
from tests.conftest import darkroom
from tests.support.client import PATIENCE_S, Client, photo
from tests.support.extras import needs
from tests.support.patched import buckets, patched
from tests.support.waiting import eventually
from tests.system.test_main_job import upload_id
from tests.system.test_worker_pressure import Worker, ctx, record  # noqa: F401

NAMES = {
    "anime",
    "auto",
    "building",
    "dehaze",
    "denoise",
    "enhance",
    "faces",
    "fast",
    "oldphoto",
    "portrait",
    "repair",
}
BASE = {"anime", "auto", "dehaze", "enhance", "fast", "repair"}
"""What needs nothing that only an extra brings, or only `models pull`."""
TRIES = 2
BASE_INSTALL = """
from importlib.machinery import PathFinder
plain, hidden = PathFinder.find_spec, ("torch", "torchvision", "spandrel", "spandrel_extra_arches", "cv2")
def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in hidden else plain(name, path, target)
PathFinder.find_spec = find_spec
"""
"""Run first by workers: what the extra `torch` brings is not there."""


class BaseInstall:
    """A stack whose workers have the base install alone, as a person and an app see it."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        printed = darkroom("env", state_dir=state_dir).stdout
        env = dict(line.split("=", 1) for line in shlex.split(printed))
        self.client = Client(env)
        headers = {"Authorization": f"Bearer {env['DARKROOM_API_KEY']}"}
        self.api = httpx.Client(
            base_url=env["DARKROOM_API_URL"], headers=headers, timeout=60
        )

    def run(self, *arguments: str) -> Any:
        return darkroom(*arguments, state_dir=self.state_dir)


@pytest.fixture(scope="module")
def base(
    state_dir: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BaseInstall]:
    folder, empty = state_dir("base-install"), tmp_path_factory.mktemp("models")
    with patched(
        tmp_path_factory.mktemp("code"),
        BASE_INSTALL,
        {"DARKROOM_MODELS_DIR": str(empty)},
    ):
        up = darkroom(
            "up",
            "--detach",
            state_dir=folder,
            DARKROOM_SWEEP_INTERVAL_S="2",
            DARKROOM_LEASE_S="15",
        )
    assert up.returncode == 0, up.stderr
    try:
        stack = BaseInstall(folder)
        yield stack
        stack.api.close()
    finally:
        darkroom("down", state_dir=folder)


def uploads(base: BaseInstall) -> list[str]:
    return base.client.keys("uploads")


def test_api_and_command_say_the_same(base: BaseInstall) -> None:
    told = base.api.get("/v1/workflows").json()
    printed = json.loads(base.run("workflows", "--json").stdout)
    for shown in (told, printed):
        assert {one["name"] for one in shown} == NAMES
        assert {one["name"] for one in shown if one["available"]} == BASE
        for one in shown:
            if not one["available"]:
                assert "darkroom models pull" in one["unavailable"]["command"]
    assert [one["unavailable"] for one in told] == [
        one["unavailable"] for one in printed
    ]
    table = base.run("workflows").stdout
    assert "yes" in table
    assert "no:" in table


@pytest.mark.parametrize("workflow", sorted(BASE))
def test_what_is_offered_runs(base: BaseInstall, workflow: str) -> None:
    asked = {"filename": "g.png", "content_type": "image/png", "workflow": workflow}
    issued = base.api.post("/v1/uploads", json=asked)
    assert issued.status_code == 201, issued.text
    put = issued.json()["put"]
    assert httpx.put(
        put["url"], headers=put["headers"], content=photo(24, 20), timeout=60
    ).is_success
    path = f"/v1/uploads/{issued.json()['ticket']}"
    ended = eventually(
        lambda: (
            state
            if (state := base.api.get(path).json())["status"]
            in ("success", "failed", "rejected")
            else None
        ),
        f"the end of {workflow}",
        PATIENCE_S,
    )
    assert ended["status"] == "success", ended


@pytest.mark.parametrize("workflow", sorted(NAMES - BASE))
def test_what_is_not_offered_is_refused_before_anything_is_sent(
    base: BaseInstall, workflow: str
) -> None:
    """By a ticket, by a preview, by the command; a bad parameter is told first."""
    before = uploads(base)
    asked = {"filename": "g.png", "content_type": "image/png", "workflow": workflow}
    refused = [base.api.post("/v1/uploads", json=asked)]
    refused.append(
        base.api.post(
            "/v1/previews", json={"source": {"key": "none.png"}, "workflow": workflow}
        )
    )
    for answer in refused:
        assert (answer.status_code, answer.json()["code"]) == (
            409,
            "workflow_unavailable",
        ), answer.text
        assert "darkroom models pull" in answer.json()["detail"]
        assert answer.headers["content-type"] == "application/problem+json"
    wrong = base.api.post("/v1/uploads", json=asked | {"params": {"sharpen": 7}})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "bad_parameter")
    assert uploads(base) == before


def test_the_command_sends_nothing_that_nobody_can_restore(
    base: BaseInstall, tmp_path: Path
) -> None:
    (tmp_path / "g.png").write_bytes(photo())
    before = uploads(base)
    url, key = str(base.api.base_url), base.api.headers["Authorization"].split()[1]
    for more in ((), ("--api", url, "--key", key)):
        sent = base.run(
            "submit", str(tmp_path / "g.png"), "--workflow", "portrait", *more
        )
        assert sent.returncode == 1
        assert "no worker can run 'portrait'" in sent.stderr
        assert "darkroom models pull ddcolor-modelscope" in sent.stderr
    assert uploads(base) == before


@pytest.mark.parametrize("workflow", sorted(NAMES - BASE))
def test_what_is_dropped_into_the_bucket_for_it_is_rejected_at_once(
    base: BaseInstall, workflow: str
) -> None:
    key = f"incoming/{workflow}/g.png"
    upload = upload_id(key, base.client.put(key, photo()))
    row = base.client.row(upload, "rejected", "failed", "success")
    assert (row["status"], row["error_code"]) == ("rejected", "workflow_unavailable")
    assert "darkroom models pull" in base.client.reason(upload)["error_detail"]
    assert base.client.read("uploads", key), "the original stays"


# a model that comes


@pytest.fixture
def own(
    ctx: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Context]:
    """Buckets of this test's own, and a models folder that handlers and worker share,
    with a model in its list.
    """
    needs("torch", "torch")
    from gpu_worker.engines.local import add
    from tests.unit.shared.test_local_models import compact

    monkeypatch.setattr(models, "_folders", [])
    monkeypatch.setattr(offers, "KNOWN_FOR_S", -1)
    registry.cache_clear()
    folder = tmp_path / "models"
    add(compact(tmp_path / "toy.pth"), "toy", "unknown", Settings(models_dir=folder))
    shutil.move(folder / "toy.pth", tmp_path / "aside.pth")
    changes: dict[str, Any] = {
        "models_dir": folder,
        "unavailable": "wait",
        "engine": "auto",
    }
    changes |= {
        "lease_s": 6.0,
        "max_attempts": TRIES,
        "retry_base_s": 0.1,
        "retry_cap_s": 0.2,
    }
    with buckets(ctx, "uploads", "results", "quarantine", **changes) as own:
        yield own
    registry.cache_clear()


def put(own: Context, key: str) -> Decision:
    wanted = {"workflow": "enhance", "params": '{"model": "toy"}'}
    own.store.put(
        own.settings.bucket_uploads, key, photo(20, 16, seed=11), "image/png", wanted
    )
    return on_upload(UploadEvent(own.settings.bucket_uploads, key, "create"), own)


def pull(tmp_path: Path) -> None:
    shutil.copy(tmp_path / "aside.pth", tmp_path / "models" / "toy.pth")


def test_a_photo_waits_for_its_model_and_loses_no_try(
    own: Context, tmp_path: Path
) -> None:
    """Refused more often than it may be tried, by a worker that restores others
    meanwhile; then it is restored.
    """
    with Worker(own) as worker:
        assert worker.said("worker.announced")
        waits = put(own, "a.png")
        assert waits.kind == "queued"
        assert waits.task_id
        calls = DueRetries(own)
        eventually(
            lambda: (
                calls.publish_due() * 0 or len(worker.said("task.retried")) > 2 * TRIES
            ),
            "refusals",
            240,
        )
        claim = latest(own.store, own.settings.bucket_results, waits.task_id)
        assert claim
        assert claim.note.uncounted_attempts >= 2 * TRIES
        assert not worker.said("task.failed")
        pull(tmp_path)
        made = eventually(
            lambda: calls.publish_due() * 0 or record(own, waits.task_id or ""),
            "the record",
            240,
        )
        assert [line["attempt"] for line in worker.said("task.begun")] == [
            made.attempts
        ]
        assert made.models[0].name == "toy"
        eventually(
            lambda: len(worker.said("worker.announced")) == 2, "what it can do now", 120
        )
    assert letters(own.settings) == []


def test_a_photo_is_rejected_until_a_worker_has_its_model(
    own: Context, tmp_path: Path
) -> None:
    """The announcement outlives its worker, is renewed by one that can do more, and the
    same photo is decided anew.
    """
    rejecting = Context(
        own.settings.model_copy(update={"unavailable": "reject"}),
        own.store,
        own.publisher,
        own.clock,
    )
    assert put(rejecting, "unknown.png").kind == "queued", "nobody said anything yet"
    with Worker(own):
        pass
    first = put(rejecting, "b.png")
    assert (first.kind, first.code) == ("rejected", "workflow_unavailable")
    pull(tmp_path)
    with Worker(own):
        listed = [
            info.key
            for info in own.store.list(own.settings.bucket_results, keys.WORKERS)
        ]
        assert len(listed) == 1, "in the place of what it said before"
        written = own.store.head(own.settings.bucket_uploads, "b.png").last_modified
        eventually(
            lambda: (
                own.store.put(
                    own.settings.bucket_uploads, "clock", b"", "text/plain"
                ).last_modified
                > written
            ),
            "a later second",
            60,
        )
        again = put(rejecting, "b.png")
        assert (again.kind, again.upload_id, again.repeated) == (
            "queued",
            first.upload_id,
            False,
        )
        eventually(lambda: record(own, again.task_id or ""), "the record", 240)
