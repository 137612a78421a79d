"""A pyramid is made of the very result that the record names, or of the original, and
leaves nothing of a photo that is taken away.
"""

from __future__ import annotations

import io
import json
import threading
import zipfile
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from gpu_worker.codec.png import write_png
from gpu_worker.photo import Photo
from gpu_worker.pipeline.pyramids import Pyramids, is_wanted
from handlers.http.api import cancel_and_erase
from shared.errors import Code
from shared.uploads import keys
from shared.uploads.keys import Picture
from shared.uploads.messages import PyramidTask
from shared.uploads.pyramids import PyramidStore
from tests.support.records import record_of
from tests.support.waiting import eventually
from tests.support.worker_rig import FakeDelivery, WorkerRig


class Decoder:
    """Decodes what the tests upload."""

    def decode(self, data: bytearray, _pixels: int | None, _page: int) -> Photo:
        return Photo(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


class Bench:
    """A restored photo of 600 x 520 pixels, and who makes pyramids of it."""

    def __init__(self) -> None:
        self.rig = WorkerRig()
        self.receipt = self.rig.world.receipt(self.rig.decision)
        self.task = self.receipt.task_id or ""
        self.store = self.rig.world.store
        self.stored = PyramidStore(self.store, self.rig.ctx.settings)
        self.leaving = threading.Event()
        self.pyramids = Pyramids(self.rig.ctx, cast(Any, Decoder()), self.leaving)
        file = io.BytesIO()
        written = write_png(Photo(np.full((520, 600, 3), 90, np.uint8)), file, {}, 1)
        now = self.rig.world.clock.now()
        record = record_of(self.receipt, now, result_sha256=written.sha256)
        self.store.put("results", record.result_key, file.getvalue(), "image/png")
        key = keys.record(self.task)
        self.store.put("results", key, record.to_bytes(), "application/json")

    def make(self, of: Picture, redelivered: bool = False) -> FakeDelivery:
        message = PyramidTask(
            task_id=self.task, upload_id=self.receipt.upload_id, pyramid_of=of
        )
        delivery = FakeDelivery(message.encode())
        delivery.redelivered = redelivered
        delivery.ids = dict  # type: ignore[attr-defined]
        assert is_wanted(cast(Any, delivery))
        self.pyramids.make(cast(Any, delivery))
        return delivery

    def info(self, of: Picture) -> dict[str, Any]:
        data = self.store.read("results", keys.pyramid(self.task, of))
        found: dict[str, Any]
        found = json.loads(zipfile.ZipFile(io.BytesIO(data)).read("info.json"))
        return found


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(
    ("of", "size"), [("result", (600, 520)), ("original", (40, 30))]
)
def test_it_is_stored_with_the_size_of_its_picture(
    bench: Bench, of: Picture, size: tuple[int, int]
) -> None:
    assert bench.make(of).acked == 1
    found = bench.stored.find(bench.task, of)
    assert found is not None
    assert (found.width, found.height) == size
    info = bench.info(of)
    assert (info["width"], info["height"]) == size


def test_a_result_that_the_record_does_not_name_is_not_read(bench: Bench) -> None:
    bench.store.put("results", keys.result(bench.task), b"something", "image/png")
    assert bench.make("result").acked == 1
    assert bench.stored.find(bench.task, "result") is None
    why = bench.stored.why_not(bench.task, "result")
    assert why is not None
    assert why.error_code == Code.CHECKSUM_MISMATCH


def test_nothing_is_left_of_a_photo_that_is_erased_meanwhile(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = PyramidStore.put

    def erase_and_put(*args: Any) -> None:
        cancel_and_erase.erase(
            cast(Any, bench.rig.world.ctx), bench.task, [bench.receipt]
        )
        put(*args)

    monkeypatch.setattr(PyramidStore, "put", erase_and_put)
    for of in ("result", "original"):
        bench.make(cast(Picture, of))
    assert not list(bench.store.list("results", "tiles/"))


def test_a_message_that_comes_again_is_dropped(bench: Bench) -> None:
    """It may have killed a worker."""
    assert bench.make("result", redelivered=True).acked == 1
    assert not list(bench.store.list("results", "tiles/"))


def test_what_is_no_message_becomes_a_dead_letter(bench: Bench) -> None:
    delivery = FakeDelivery(b'{"pyramid_of": 7}')
    bench.pyramids.make(cast(Any, delivery))
    assert delivery.code == Code.BAD_MESSAGE


def test_a_worker_that_makes_one_has_work(bench: Bench) -> None:
    """So that it does not leave as idle meanwhile."""
    message = PyramidTask(
        task_id=bench.task, upload_id=bench.receipt.upload_id, pyramid_of="result"
    )
    delivery = FakeDelivery(message.encode())
    delivery.ids = dict  # type: ignore[attr-defined]
    assert not bench.pyramids.has_work()
    bench.pyramids.put(cast(Any, delivery))
    assert bench.pyramids.has_work()
    thread = threading.Thread(target=bench.pyramids.run)
    thread.start()
    try:
        eventually(lambda: not bench.pyramids.has_work(), "it is made")
    finally:
        bench.leaving.set()
        thread.join()
    assert delivery.acked == 1
