"""A real worker that cannot load the library of colour profiles at all: photos with
profiles are restored as ever.
"""

from __future__ import annotations

import io
from pathlib import Path
from uuid import uuid4

import numpy as np
from PIL import Image

from gpu_worker.codec import profiles
from handlers.context import Context
from handlers.intake.notifications import UploadEvent
from handlers.on_upload import on_upload
from shared.uploads import keys
from tests.support.patched import patched
from tests.support.waiting import eventually
from tests.system.test_worker_pressure import Worker, ctx, record  # noqa: F401

WITHOUT = "sys.modules['PIL.ImageCms'] = None"
ADOBE = profiles.matrix_profile(
    "Adobe RGB", (0.3127, 0.3290), (0.64, 0.33, 0.21, 0.71, 0.15, 0.06), 563 / 256
)


def test_a_worker_without_the_library(ctx: Context, tmp_path: Path) -> None:
    """The preview is in sRGB all the same, and the result carries the profile."""
    file = io.BytesIO()
    Image.new("RGB", (40, 30), (100, 180, 100)).save(file, "PNG", icc_profile=ADOBE)
    key = f"profiles/{uuid4()}.png"
    ctx.store.put(
        ctx.settings.bucket_uploads, key, file.getvalue(), "image/png", {"user": "ann"}
    )
    task = on_upload(
        UploadEvent(ctx.settings.bucket_uploads, key, "create"), ctx
    ).task_id
    assert task
    with (
        patched(tmp_path / "patched", WITHOUT),
        Worker(ctx, label_preview=False) as worker,
    ):
        assert eventually(lambda: record(ctx, task), "the record", 240).attempts == 1
        assert not worker.said("preview.not_converted")
    result = Image.open(
        io.BytesIO(ctx.store.read(ctx.settings.bucket_results, keys.result(task)))
    )
    assert result.info["icc_profile"] == ADOBE
    preview = Image.open(
        io.BytesIO(ctx.store.read(ctx.settings.bucket_results, keys.preview(task)))
    )
    red, green, _ = np.asarray(preview)[preview.height // 2, preview.width // 2].astype(
        int
    )
    assert red < 70
    assert abs(green - 181) < 12
