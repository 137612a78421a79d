"""Handler, worker and sweep in memory, photo after photo, on a store that refuses one
key of one of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from gpu_worker.photo import Photo
from gpu_worker.pipeline import retrying
from gpu_worker.pipeline.job import Job
from gpu_worker.pipeline.lanes import Lane
from gpu_worker.pipeline.pipeline import Pipeline
from gpu_worker.pipeline.stages import PREPARE, RESTORE, STORE_RESULT
from gpu_worker.restore import Restored
from handlers.context import Context
from handlers.intake.notifications import UploadEvent
from handlers.on_sweep import Memory, on_sweep
from handlers.on_upload import on_upload
from shared.broker import topology
from shared.errors import (
    Code,
    DarkroomError,
    NotFound,
    PermanentError,
    StorageUnavailable,
)
from shared.runtime.retry import RetryPolicy
from shared.runtime.settings import Settings
from shared.uploads import keys
from shared.uploads.ref import upload_id_of
from tests.support.memory_store import MemoryStore
from tests.support.reconcile_world import BUCKETS, LEASE_S, Town, photo
from tests.support.refusals import Refusal
from tests.support.worker_rig import FakeDelivery

OURS = "b.png"
OTHERS = ("a.png", "c.png")
"""One before it in every listing, one behind it."""
ENDLESS = 60
"""So often nobody asks for one key within one look at one message."""
ROUND_S = 120.0

Call = tuple[str, str, str]
"""Method, bucket, key."""


class Endless(BaseException):
    """Somebody waits for one key, and everybody behind him; no `except Exception` may
    take it for a fault.
    """


class WatchedStore(MemoryStore):
    """Keeps what it is asked for."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.calls: dict[Call, None] = {}
        self.asked: Counter[Call] = Counter()

    def _check(self, method: str, bucket: str, key: str) -> None:
        call = (method, bucket, key)
        self.calls[call] = None
        if (
            method != "LIST"
            and {(bucket, key, method), (bucket, "", method)} & self._refused.keys()
        ):
            self.asked[call] += 1
            if self.asked[call] > ENDLESS:
                raise Endless(" ".join(call))
        super()._check(method, bucket, key)


class Mill:
    """Three photos that go their way. `told`: whether notifications arrive; `broken`:
    ours is no picture.
    """

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        folder: Path,
        told: bool = True,
        broken: bool = False,
    ) -> None:
        self.town = Town()
        self.store = WatchedStore(self.town.clock, BUCKETS)
        settings = Settings(
            pepper="p",
            default_workflow="fast",
            lease_s=LEASE_S,
            retry_base_s=1,
            retry_cap_s=5,
            scratch_dir=folder,  # type: ignore[arg-type]
        )
        self.town.store = self.store  # type: ignore[assignment]
        self.town.ctx = Context(
            settings, self.store, self.town.publisher, self.town.clock
        )
        self.told, self.broken = told, broken
        self.memory = Memory()
        self._pipeline = self._made_pipeline(patch, settings)
        for bucket in BUCKETS[1:]:
            # a store that gives nothing is away
            self.store.put(bucket, ".darkroom/warm", b"", "text/plain")
        for number, key in enumerate((*OTHERS, OURS)):
            self.store.put("uploads", key, photo(number), "image/png")
        self.ids = {
            key: upload_id_of(self.store.head("uploads", key))
            for key in (*OTHERS, OURS)
        }
        self.store.calls.clear()

    def _made_pipeline(self, patch: pytest.MonkeyPatch, settings: Settings) -> Pipeline:
        patch.setattr(
            "gpu_worker.codec.Decoder", lambda _: SimpleNamespace(decode=self._decoded)
        )
        patch.setattr(retrying, "POLICY", RetryPolicy(1e-5, 1e-5))
        engine: Any = SimpleNamespace(name="ncnn", device="cpu", check=lambda *_: None)
        pipeline = Pipeline(
            settings, self.store, self.town.publisher, self.town.clock, engine
        )
        pipeline.stages.restore = _restore
        return pipeline

    def _decoded(self, data: bytes, _: int | None, _page: int) -> Photo:
        if self.broken and data == self.store._objects["uploads", OURS][-1].data:
            raise PermanentError(Code.DECODE_ERROR, "no picture in it")
        return Photo(np.zeros((4, 6, 3), np.uint8))

    def turn(self, rounds: int, *keys: str) -> bool:
        """Whether these photos have their ends after so many rounds at most, and still
        after one more.
        """
        for _ in range(rounds):
            if all(self.end(key) for key in keys):
                break
            self.round()
        self.round()
        return all(self.end(key) for key in keys)

    def round(self) -> None:
        """Notifications, then the worker, then a sweep, and time passes."""
        self.store.asked.clear()
        if self.told:
            self.tell()
        self._work()
        self.store.asked.clear()
        with suppress(StorageUnavailable):
            on_sweep(self.town.ctx, backlogs=self.town.backlogs, memory=self.memory)
        self.town.clock.advance(ROUND_S)
        self.told = False

    def tell(self) -> None:
        for key in sorted(self.ids):
            with suppress(DarkroomError):  # whoever brought it does not come again
                on_upload(UploadEvent("uploads", key, "create"), self.town.ctx)

    def _work(self) -> None:
        """Everything that waits, as the three threads would do it."""
        pipeline, stages = self._pipeline, self._pipeline.stages
        self.town.depths()
        for queue in topology.RESTORE:
            for body in self.town.queues.get(queue, []):
                delivery = FakeDelivery(body)
                delivery.queue = queue
                pipeline.inbox.put(cast(Any, delivery))
            self.town.queues[queue] = []
        works = {
            PREPARE: stages.prepare,
            RESTORE: stages.restore,
            STORE_RESULT: stages.store_result,
        }
        while waiting := pipeline.inbox.next(0):
            job = pipeline.loops.begin(waiting)
            if job and all(
                pipeline.runner.run(Lane(name, 1), work, job)
                for name, work in works.items()
            ):
                pipeline.in_flight.remove(job)

    def end(self, key: str) -> str:
        """How the photo ended; nothing while it has not."""
        for bucket, place in (
            ("quarantine", keys.reason(self.ids[key])),
            ("results", self._record(key)),
        ):
            with suppress(NotFound):
                self.store.read(bucket, place)
                return bucket
        return ""

    def _record(self, key: str) -> str:
        with suppress(NotFound):
            return keys.record(self.town.receipt(self.ids[key]).task_id or "none")
        return "none"

    def calls_about_ours(self) -> Iterator[Call]:
        """What a run without any refusal asks the store for on our photo's account."""
        task = self.town.receipt(self.ids[OURS]).task_id or "none"
        for method, bucket, key in self.store.calls:
            if method != "LIST" and (
                key == OURS or self.ids[OURS] in key or task in key
            ):
                yield method, bucket, key


def _restore(job: Job) -> None:
    job.photo, photo_ = None, job.photo
    assert photo_
    job.restored = Restored(photo_, [], {}, "ncnn", "cpu", 1)


def refused(mill: Mill, call: Call, refusal: Refusal) -> None:
    method, bucket, key = call
    mill.store.refuse(bucket, key, refusal, method)
