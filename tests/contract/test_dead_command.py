"""`darkroom dead …` on the real store and broker: what a person sees and does about
messages that were set aside.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handlers.context import Context
from handlers.intake.notifications import UploadEvent
from handlers.on_upload import on_upload
from shared.broker import dead_letters
from shared.broker.depth import depth
from shared.broker.publisher import Publisher
from shared.broker.topology import LANES, LOG, UPLOADS
from shared.errors import Code, NotFound
from shared.runtime.settings import Settings
from shared.uploads import keys
from shared.uploads.documents import Reason, Receipt
from shared.uploads.messages import LogEvent, RestoreTask
from tests.conftest import darkroom
from tests.support.databases import corner
from tests.support.harness import consuming
from tests.support.reconcile_world import photo
from tests.support.waiting import eventually


@pytest.fixture
def ctx(servers: Any) -> Iterator[Context]:
    """On the real servers, with a corner of the broker of this test's own."""
    own = servers.settings.model_dump() | {
        "broker_url": corner(servers.settings),
        "pepper": "p",
        "default_workflow": "fast",
    }
    ctx = Context.of(Settings.model_validate(own))
    yield ctx
    dead_letters.drop(ctx.settings)


def dead_command(ctx: Context, folder: Path, *arguments: str) -> Any:
    """What `darkroom dead … --json` prints, as JSON."""
    chosen = {
        name: value
        for name, value in ctx.settings
        if value != Settings.model_fields[name].default
    }
    given = Settings.given(**chosen)
    ran = darkroom(
        "dead",
        *arguments,
        "--json",
        state_dir=folder,
        **given.variables(exclude=["state_dir"]),
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def set_aside(ctx: Context) -> RestoreTask:
    """A photo of somebody that failed: its end in the bucket, its message among the
    dead.
    """
    bucket = ctx.settings.bucket_uploads
    ctx.store.put(bucket, "dead/a.png", photo(77), "image/png", {"user": "ann"})
    on_upload(UploadEvent(bucket, "dead/a.png", "create"), ctx)
    with consuming(
        ctx.settings,
        dict.fromkeys(LANES, 1),
        lambda d: d.dead("decode_error", "broken"),
    ) as taken:
        task = RestoreTask.decode(taken.take(1)[0].body)
        eventually(
            lambda: len(dead_letters.letters(ctx.settings)) == 1, "the dead message"
        )
    key = keys.receipt(task.upload_id)
    source = Receipt.from_bytes(
        ctx.store.read(ctx.settings.bucket_results, key), key
    ).source
    reason = Reason(
        upload_id=task.upload_id,
        task_id=task.task_id,
        status="failed",
        error_code=Code.DECODE_ERROR,
        error_detail="broken",
        source=source,
        at=ctx.clock.now(),
    )
    ctx.store.put(
        ctx.settings.bucket_quarantine,
        keys.reason(task.upload_id),
        reason.to_bytes(),
        "application/json",
    )
    return task


def test_a_photo_is_listed_shown_and_put_back(ctx: Context, tmp_path: Path) -> None:
    """The message is in its lane again, the reason is gone, and the log hears that the
    photo is queued.
    """
    task = set_aside(ctx)
    (listed,) = dead_command(ctx, tmp_path, "list")
    assert (listed["code"], listed["detail"]) == ("decode_error", "broken")
    assert listed["queue"] in LANES[1:]
    assert dead_command(ctx, tmp_path, "list", "--queue", UPLOADS) == []
    assert dead_command(ctx, tmp_path, "show", listed["id"]) == listed
    assert RestoreTask.decode(listed["body"].encode()) == task
    assert dead_command(ctx, tmp_path, "retry", listed["id"]) == {"retried": 1}
    with pytest.raises(NotFound):
        ctx.store.read(ctx.settings.bucket_quarantine, keys.reason(task.upload_id))
    with consuming(
        ctx.settings, {listed["queue"]: 1, LOG: 10}, lambda d: d.ack()
    ) as taken:
        eventually(lambda: len(taken.deliveries) >= 3, "the task, and both facts")
    assert task.encode() in taken.bodies()
    told = [
        LogEvent.decode(delivery.body)
        for delivery in taken.deliveries
        if delivery.queue == LOG
    ]
    assert [(event.kind, event.fields.get("retries")) for event in told] == [
        ("queued", None),
        ("queued", 1),
    ]


def test_what_is_no_task_is_put_back_as_it_is_and_all_of_a_queue_is_dropped(
    ctx: Context, tmp_path: Path
) -> None:
    """Bytes that nobody can read; `--all --queue` leaves the other queues alone."""
    publisher = Publisher(ctx.settings)
    for queue in (LANES[2], LANES[2], UPLOADS):
        publisher.publish(queue, b"\xff" + str(depth(ctx.settings)[queue]).encode())
    with consuming(
        ctx.settings, {LANES[2]: 2, UPLOADS: 1}, lambda d: d.dead("bad_message", "no")
    ) as taken:
        taken.take(3)
        eventually(
            lambda: len(dead_letters.letters(ctx.settings)) == 3, "three dead messages"
        )
    assert "body_base64" in dead_command(ctx, tmp_path, "list")[0]
    assert dead_command(ctx, tmp_path, "drop", "--all", "--queue", UPLOADS) == {
        "dropped": 1
    }
    assert dead_command(ctx, tmp_path, "retry", "--all") == {"retried": 2}
    assert depth(ctx.settings)[LANES[2]] == 2
    with consuming(ctx.settings, {LANES[2]: 2}, lambda d: d.ack()) as taken:
        taken.take(2)
    publisher.close()


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["retry"], 2, "--all"),
        (["drop", "--all", "x"], 2, "--all"),
        (["list", "--queue", "nonesuch"], 2, UPLOADS),
        (["show", "0" * 12], 1, "darkroom dead list"),
        (["retry", "0" * 12], 1, "darkroom dead list"),
    ],
)
def test_wrong_usage_is_told_with_the_way_out(
    ctx: Context, tmp_path: Path, arguments: list[str], status: int, said: str
) -> None:
    """And nothing is done."""
    ran = darkroom(
        "dead",
        *arguments,
        state_dir=tmp_path,
        COLUMNS="500",
        DARKROOM_BROKER_URL=ctx.settings.broker_url.get_secret_value(),
    )
    assert ran.returncode == status
    assert said in ran.stderr
