"""F24: two releases side by side on one broker. No result mixes them, and each photo
finds a worker that can do it.
"""

from __future__ import annotations

import io
import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import cast
from uuid import uuid4

import pytest
from PIL import Image

from handlers.context import Context
from handlers.intake.notifications import UploadEvent
from handlers.on_upload import on_upload
from handlers.reconcile.due_retries import DueRetries
from shared import __version__, workflows
from shared.broker.dead_letters import letters
from shared.uploads.documents import Record
from shared.workflows import registry
from tests.long.test_deadly_photo import ended
from tests.support.client import photo
from tests.support.patched import buckets, patched
from tests.support.waiting import eventually
from tests.system.test_worker_pressure import Worker, ctx, record  # noqa: F401

LATER = "9.9.9"
TRIES = 2


@pytest.fixture
def own(ctx: Context) -> Iterator[Context]:
    """Few tries, which follow each other at once; as tests of one session share
    buckets, those of this test's own.
    """
    names = ("uploads", "results", "quarantine")
    with buckets(
        ctx, *names, lease_s=4.0, max_attempts=TRIES, retry_base_s=0.1, retry_cap_s=0.2
    ) as own:
        yield own


@pytest.fixture
def presets(tmp_path: Path) -> Path:
    """Those of a later release: `fast` is another one, and `quick` is new."""
    folder = tmp_path / "presets"
    shutil.copytree(workflows.PRESETS, folder)
    fast = json.loads((folder / "fast.json").read_bytes()) | {"version": 2}
    fast["steps"][0]["params"]["scale"]["default"] = 2
    (folder / "fast.json").write_text(json.dumps(fast))
    (folder / "quick.json").write_text(json.dumps(fast | {"name": "quick"}))
    return folder


def release(presets: Path) -> str:
    return (
        f"import pathlib, shared\nshared.__version__ = {LATER!r}\n"
        f"from shared.workflows import registry\nregistry.PRESETS = pathlib.Path({str(presets)!r})\n"
    )


@contextmanager
def handlers_of(presets: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Handlers, which run in this process, of the later release."""
    with monkeypatch.context() as patch:
        patch.setattr(registry, "PRESETS", presets)
        workflows.presets.cache_clear()
        yield
    workflows.presets.cache_clear()


def upload(ctx: Context, data: bytes, workflow: str) -> str:
    """The task of these bytes."""
    key = f"{uuid4()}.png"
    ctx.store.put(
        ctx.settings.bucket_uploads, key, data, "image/png", {"workflow": workflow}
    )
    task_id = on_upload(
        UploadEvent(ctx.settings.bucket_uploads, key, "create"), ctx
    ).task_id
    assert task_id
    return task_id


def until(ctx: Context, task: str) -> Record:
    """Its record; meanwhile every try that is due is called, as the sweep process does
    it.
    """
    calls = DueRetries(ctx)
    return cast(
        Record,
        eventually(
            lambda: calls.publish_due() * 0 or record(ctx, task),
            f"the record of {task}",
            120,
        ),
    )


def picture(ctx: Context, made: Record) -> Image.Image:
    data = ctx.store.read(ctx.settings.bucket_results, made.result_key)
    assert sha256(data).hexdigest() == made.result_sha256
    return Image.open(io.BytesIO(data))


def test_each_photo_is_restored_by_its_own_release(
    own: Context, presets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that cannot refuses it more often than a photo may be tried, and it is
    none the worse for that.
    """
    data = photo(20, 16)
    before = upload(own, data, "fast")
    with patched(tmp_path / "code", release(presets)):
        later = Worker(own)
    with later:
        calls = DueRetries(own)
        eventually(
            lambda: (
                calls.publish_due() * 0 or len(later.said("task.retried")) > 2 * TRIES
            ),
            "refusals",
            120,
        )
        with Worker(own) as earlier:
            first = until(own, before)
            with handlers_of(presets, monkeypatch):
                after, new = upload(own, data, "fast"), upload(own, data, "quick")
            second, third = until(own, after), until(own, new)
            refused = earlier.said("task.retried") + later.said("task.retried")
    print(
        f"FAULT=F24 injected={len(refused)} results=3 mixed=0 dead={len(letters(own.settings))}"
    )
    assert len({before, after, new}) == 3
    for made, version, software, size in [
        (first, 1, __version__, (80, 64)),
        (second, 2, LATER, (40, 32)),
        (third, 2, LATER, (40, 32)),
    ]:
        image = picture(own, made)
        assert (made.workflow.version, made.software.split()[1], image.size) == (
            version,
            software,
            size,
        )
        assert made.workflow.signature in str(image.text)  # type: ignore[attr-defined]
        assert software in str(image.text)  # type: ignore[attr-defined]
    assert [len(worker.said("task.begun")) for worker in (earlier, later)] == [1, 2]
    assert {line["task_id"] for line in later.said("task.retried")} == {before}
    assert not earlier.said("task.failed") + later.said("task.failed")
    assert letters(own.settings) == []


def test_a_record_names_the_release_that_made_the_result(
    own: Context, tmp_path: Path
) -> None:
    """It dies before its record; a worker of another release, and with another engine,
    finds the result there.
    """
    task = upload(own, photo(20, 16), "fast")
    other = "from gpu_worker.engines.ncnn_engine import NcnnEngine\nNcnnEngine.name = 'other'\n"
    with patched(
        tmp_path / "code", f"import shared\nshared.__version__ = {LATER!r}\n{other}"
    ):
        maker = Worker(own, engine="ncnn", failpoint="worker.after_result:1")
    assert ended(maker) == -signal.SIGKILL
    assert record(own, task) is None
    with Worker(own, engine="ncnn") as finisher:
        made = until(own, task)
        assert finisher.said("task.begun")
    image = picture(own, made)
    assert (made.software.split()[1], made.engine, made.attempts) == (LATER, "other", 2)
    assert LATER in str(image.text)  # type: ignore[attr-defined]
    assert [note for note in made.notes if "earlier attempt" in note]
