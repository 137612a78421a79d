"""What one photo costs the object store, from its notification to its record, and how
often a store that is far away is waited for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from gpu_worker.photo import Photo
from gpu_worker.restore import Restored
from handlers.on_upload import on_upload
from shared.s3.store import ObjectStore
from tests.support.upload_world import World, photo
from tests.support.worker_rig import WorkerRig

HANDLER = [
    {"read uploads/a.png"},
    {"read results/processed/*.json"},
    {"put_new results/receipts/*.json"},
]
PREPARE = [
    {"read results/receipts/*.json"},
    {"put_new results/claims/*/0001.json"},
    {
        "read quarantine/*/reason.json",
        "read results/processed/*.json",
        "read_same uploads/a.png",
    },
]
STORE_RESULT = [
    {"put results/previews/*.webp", "put_new results/processed/*.png"},
    {"put_new results/processed/*.json"},
]
SETTLE = [
    {"read quarantine/*/reason.json"},
    {"read results/earlier/*/*.json"},
    {"delete results/claims/*/0001.json"},
]
"""Whether the owner took it back, and whether its bytes came again at its key before
that, which only a bucket without versions need be asked.
"""
TOGETHER_S = 60.0


class CountingStore:
    """Notes every request, and hands it on once all that are expected beside it are
    there. `series`: what is expected, one set after the other.
    """

    def __init__(self, store: ObjectStore, series: list[set[str]]) -> None:
        self._store = store
        self._rest = list(series)
        self._lock = threading.Lock()
        self._barrier = threading.Barrier(1)
        self._beside: set[str] = set()
        self.requests: list[str] = []

    def _note(self, request: str) -> None:
        with self._lock:
            self.requests.append(request)
            if not self._beside:
                self._beside = self._rest.pop(0)
                self._barrier = threading.Barrier(len(self._beside))
            assert request in self._beside
            self._beside = self._beside - {request}
            barrier = self._barrier
        barrier.wait(TOGETHER_S)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._store, name)

        def noted(*args: Any, **kwargs: Any) -> Any:
            known = args[0]
            bucket, key = args[:2] if name != "read_same" else (known.bucket, known.key)
            verb = "read" if name == "open" else name
            self._note(f"{verb} {bucket}/{without_ids(key)}")
            return method(*args, **kwargs)

        return noted


def without_ids(key: str) -> str:
    """The key with a star for each id."""
    parts = [
        f"*.{part.partition('.')[2]}" if part.count("-") >= 4 else part
        for part in key.split("/")
    ]
    return "/".join(part.removesuffix(".") for part in parts)


class Decoder:
    def decode(self, _data: bytes, _pixels: int | None, _page: int = 1) -> Photo:
        return Photo(np.zeros((3, 4, 3), np.uint8))


@pytest.mark.parametrize("versioned", [True, False])
def test_a_photo_costs_few_requests(versioned: bool) -> None:
    """Renewals come on top: one write and one or two reads each sixth of a lease."""
    buckets = ("uploads",) if versioned else ()
    world = World(versioned=buckets, settings={"unavailable": "wait"})
    event = world.put("a.png", photo())
    settle = [SETTLE[0], SETTLE[2]] if versioned else SETTLE
    series = [*HANDLER, *PREPARE, *STORE_RESULT, *settle]
    store = CountingStore(world.store, series)
    port = cast(ObjectStore, store)
    handlers_ctx = replace(world.ctx, store=port)
    rig = WorkerRig(world, port, Decoder())
    rig.wait_with(on_upload(event, handlers_ctx))
    job = rig.begin()
    rig.prepare(job)
    assert job.photo is not None
    job.restored = Restored(job.photo, [], {}, "ncnn", "cpu", 1)
    rig.store_result(job)

    assert len(store.requests) == (13 if versioned else 14)
    assert len(series) == (10 if versioned else 11)
