"""What lies in quarantine beside a reason is the photo that the reason is about, or
nothing.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from gpu_worker.pipeline.context import Context
from gpu_worker.pipeline.outcome import Outcomes
from handlers.intake.notifications import UploadEvent
from handlers.on_upload import on_upload
from infra.local.stack import Stack
from shared.errors import Code, NotFound
from shared.uploads import keys
from shared.uploads.claims import AttemptsExhausted, Claims
from shared.uploads.documents import Receipt
from tests.support.api_world import ApiWorld
from tests.support.upload_world import photo
from tests.support.worker_rig import FakeDelivery


@pytest.fixture
def world(servers: Stack) -> ApiWorld:
    return ApiWorld(servers.settings)


def fail(world: ApiWorld, receipt: Receipt, code: Code) -> None:
    ctx = world.ctx
    publisher: Any = world.publisher
    claims = Claims(ctx.store, ctx.settings, "w")
    outcomes = Outcomes(Context(ctx.settings, ctx.store, publisher, claims, ctx.clock))
    delivery: Any = FakeDelivery(b"")
    outcomes.exhausted(delivery, receipt, AttemptsExhausted(1, code, "d"))


def copies(world: ApiWorld, upload_id: str) -> list[bytes]:
    return [
        world.store.read("quarantine", info.key)
        for info in world.store.list("quarantine", f"{upload_id}/")
        if info.key != keys.reason(upload_id)
    ]


@pytest.mark.parametrize("code", [Code.SOURCE_CHANGED, Code.WORKER_CRASHED])
def test_a_photo_that_was_put_over_a_failed_one_is_not_kept_as_its_copy(
    world: ApiWorld, code: Code
) -> None:
    """Whatever the worker thinks it failed of: the erasure of the later photo would not
    find that copy.
    """
    earlier = world.upload("ann")
    world.store.put("uploads", earlier.source.key, photo() + b"later", "image/png")
    fail(world, earlier, code)
    assert copies(world, earlier.upload_id) == []


def test_a_failed_photo_is_kept(world: ApiWorld) -> None:
    data = photo() + uuid4().bytes
    receipt = world.upload("ann", data)
    fail(world, receipt, Code.WORKER_CRASHED)
    assert copies(world, receipt.upload_id) == [data]


def test_a_photo_that_was_put_over_a_rejected_one_is_not_kept_as_its_copy(
    world: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes between the look at the upload and the copy of it."""
    key, copy = f"{uuid4()}/no photo.png", world.store.copy

    def late(*arguments: Any, **named: Any) -> None:
        world.store.put("uploads", key, photo() + b"later", "image/png")
        copy(*arguments, **named)

    monkeypatch.setattr(world.store, "copy", late)
    world.store.put("uploads", key, b"no photo", "image/png")
    decision = on_upload(UploadEvent("uploads", key, "create"), world.ctx)
    assert (decision.kind, copies(world, decision.upload_id or "")) == ("rejected", [])


def test_a_copy_is_of_the_bytes_that_were_asked_for(world: ApiWorld) -> None:
    key = f"{uuid4()}/a"
    world.store.put("uploads", key, b"1", "text/plain")
    first = world.store.head("uploads", key)
    world.store.put("uploads", key, b"2", "text/plain")
    with pytest.raises(NotFound):
        world.store.copy(first, "quarantine", key, if_match=first.etag)
    second = world.store.head("uploads", key)
    world.store.copy(second, "quarantine", key, if_match=second.etag)
    assert world.store.read("quarantine", key) == b"2"
    world.store.delete("quarantine", key)
