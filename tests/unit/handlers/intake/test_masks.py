"""A mask that is a picture: named by its ticket, or beside the photo in the bucket."""

from __future__ import annotations

import io
import json
from uuid import uuid4

import pytest
from PIL import Image

from shared import workflows
from shared.errors import Code
from shared.uploads import keys
from tests.support.upload_world import ANONYMOUS, World, photo

REPAIR = {"workflow": "repair"}
TICKET = str(uuid4())


def mask(white: int = 9, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    picture = Image.new("L", (40, 30))
    picture.paste(255, (0, 0, white, white))
    picture.save(out, kind)
    return out.getvalue()


def by_ticket(ticket: str = TICKET) -> dict[str, str]:
    return REPAIR | {"params": json.dumps({"mask": f"ticket:{ticket}"})}


def send(world: World, data: bytes, user: str = ANONYMOUS) -> None:
    world.upload(keys.upload(user, TICKET), data, REPAIR | {"start": "false"})


def test_the_receipt_has_its_place_and_the_signature_its_checksum() -> None:
    world = World()
    send(world, mask())
    first = world.receipt(world.upload("a.png", photo(), by_ticket()))
    assert first.mask
    assert first.workflow
    assert first.mask.key == keys.upload(ANONYMOUS, TICKET)
    assert first.workflow.params["mask"] == f"sha256:{first.mask.sha256}"
    send(world, mask(20))
    second = world.receipt(world.upload("b.png", photo(), by_ticket()))
    assert second.task_id != first.task_id


def test_what_lies_beside_the_photo_is_its_mask_and_no_photo() -> None:
    world = World()
    beside = world.receipt(world.upload("incoming/repair/a.mask.png", mask()))
    assert (beside.decision, beside.mask) == ("held", None)
    assert world.ctx.uploads.hold_info(beside.upload_id) is None
    receipt = world.receipt(world.upload("incoming/repair/a.jpg", photo("JPEG")))
    assert receipt.mask
    assert receipt.mask.key == "incoming/repair/a.mask.png"
    other = world.receipt(world.upload("incoming/repair/b.jpg", photo("JPEG")))
    assert other.mask is None


def test_a_photo_of_another_workflow_is_called_as_it_likes() -> None:
    world = World()
    receipt = world.receipt(world.upload("incoming/fast/a.mask.png", photo()))
    assert receipt.decision == "queued"


@pytest.mark.parametrize(
    ("sent", "user", "metadata"),
    [
        (mask(), "e" * 64, by_ticket()),  # another user's
        (mask(kind="JPEG"), ANONYMOUS, by_ticket()),
        (b"no picture", ANONYMOUS, by_ticket()),
        (mask(), ANONYMOUS, by_ticket("../../receipts")),
        (mask(), ANONYMOUS, REPAIR | {"params": '{"mask": "sha256:%s"}' % ("0" * 64)}),
    ],
)
def test_what_is_no_mask_of_ones_own_is_refused(
    sent: bytes, user: str, metadata: dict[str, str]
) -> None:
    """The reason says what a mask is."""
    world = World()
    send(world, sent, user)
    decision = world.upload("a.png", photo(), metadata)
    assert decision.code == Code.BAD_PARAMETER
    assert "grey PNG" in world.reason(decision).error_detail


def test_another_users_mask_beside_the_photo_is_refused() -> None:
    world = World()
    world.upload("incoming/repair/a.mask.png", mask(), {"user": "ann"})
    decision = world.upload("incoming/repair/a.png", photo(), {"user": "bob"})
    assert decision.code == Code.BAD_PARAMETER


def test_strokes_are_no_picture() -> None:
    world = World()
    strokes = {"mask": "9 1,1 20,20"}
    metadata = REPAIR | {"params": json.dumps(strokes)}
    receipt = world.receipt(world.upload("a.png", photo(), metadata))
    assert receipt.workflow == workflows.resolve("repair", strokes).ref
    assert receipt.mask is None
