"""Weights that change under a running worker: what is loaded goes on, and nobody begins
with what is not the model.
"""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handlers.context import Context
from handlers.intake.notifications import UploadEvent
from handlers.on_upload import on_upload
from shared import models
from shared.broker import topology
from shared.broker.depth import depth
from shared.runtime.settings import Settings
from tests.support.client import photo
from tests.support.waiting import eventually
from tests.system.test_worker_pressure import Worker, ctx, record  # noqa: F401

MODEL = models.get("realesr-animevideov3")


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights of `fast`, in a copy of their package that workers find before the
    installed one.
    """
    file = next(file for file in MODEL.files if file.role == "ncnn-bin")
    assert file.package
    spec = find_spec(file.package)
    assert spec
    assert spec.submodule_search_locations
    copy = tmp_path / "packages" / file.package
    shutil.copytree(spec.submodule_search_locations[0], copy, copy_function=os.symlink)
    path = copy / file.path
    true = path.resolve()
    path.unlink()
    shutil.copyfile(true, path)
    monkeypatch.setenv("PYTHONPATH", str(copy.parent))
    return path


def replace(path: Path, data: bytes) -> None:
    """In one step, as an installer does it."""
    new = path.with_suffix(".new")
    new.write_bytes(data)
    new.replace(path)


def upload(ctx: Context, user: str, data: bytes) -> str:
    ctx.store.put(
        ctx.settings.bucket_uploads,
        f"weights/{user}.png",
        data,
        "image/png",
        {"user": user},
    )
    task_id = on_upload(
        UploadEvent(ctx.settings.bucket_uploads, f"weights/{user}.png", "create"), ctx
    ).task_id
    assert task_id
    return task_id


def pixels(ctx: Context, task_id: str) -> np.ndarray:
    done = eventually(lambda: record(ctx, task_id), "the record", 120)
    assert {used.name: used.sha256 for used in done.models}[MODEL.name]
    assert done.attempts == 1
    with Image.open(
        io.BytesIO(ctx.store.read(ctx.settings.bucket_results, done.result_key))
    ) as image:
        return np.asarray(image)


def start(ctx: Context) -> subprocess.CompletedProcess[str]:
    """A worker that is expected to refuse."""
    given = {
        name: value
        for name, value in ctx.settings
        if value != Settings.model_fields[name].default
    }
    env = os.environ | Settings.given(**given).variables()
    return subprocess.run(
        [sys.executable, "-m", "gpu_worker"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_weights_that_are_swapped_mix_no_results(ctx: Context, weights: Path) -> None:
    """The same picture before and after gives the same pixels; the next start is
    refused and takes nothing.
    """
    true, picture = weights.read_bytes(), photo()
    with Worker(ctx) as worker:
        before = pixels(ctx, upload(ctx, "ann", picture))
        replace(weights, true[:-1000] + bytes(byte ^ 1 for byte in true[-1000:]))
        assert np.array_equal(before, pixels(ctx, upload(ctx, "bob", picture)))
        assert not worker.said("task.failed")
    # The worker may have announced already that the file is damaged.
    patient = ctx.settings.model_copy(update={"unavailable": "wait"})
    third = upload(dataclasses.replace(ctx, settings=patient), "cyd", picture)
    waiting = depth(ctx.settings)
    assert sum(waiting[queue] for queue in topology.RESTORE) == 1
    refused = start(ctx)
    assert refused.returncode > 0
    assert MODEL.name in refused.stderr
    assert "SHA-256" in refused.stderr
    assert depth(ctx.settings) == waiting
    replace(weights, true)
    with Worker(ctx):
        assert np.array_equal(before, pixels(ctx, third))
