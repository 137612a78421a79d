"""F29: two real workers that take one and the same task at the same moment. One of them
does it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from handlers.context import Context
from shared.broker.dead_letters import letters
from shared.broker.topology import restore_queue
from shared.s3.store import S3Store
from shared.uploads.documents import Record
from tests.support.patched import Gates, buckets, patched
from tests.support.waiting import eventually
from tests.system.test_worker_pressure import Worker, ctx, record, upload  # noqa: F401

ONE_MESSAGE = "from gpu_worker.pipeline.lanes import Lanes\nLanes.most_photos = 1\n"
BEFORE, AFTER = "worker.before_claim", "worker.after_claim"


@pytest.fixture
def versioned(ctx: Context) -> Iterator[Context]:
    """With a bucket of results that forgets no write, and a lease that nobody loses by
    being slow.
    """
    with buckets(ctx, "results", versions=True, lease_s=60.0) as own:
        yield own


def writes(ctx: Context) -> dict[str, list[bytes]]:
    """Everything that was ever written among the results, by key."""
    client, bucket = cast(S3Store, ctx.store).client, ctx.settings.bucket_results
    found: dict[str, list[bytes]] = {}
    for entry in client.list_object_versions(Bucket=bucket).get("Versions", []):
        told: Any = {
            "Bucket": bucket,
            "Key": entry["Key"],
            "VersionId": entry["VersionId"],
        }
        found.setdefault(entry["Key"], []).append(
            client.get_object(**told)["Body"].read()
        )
    return found


def test_of_two_workers_at_the_same_point_one_restores_the_photo(
    versioned: Context, tmp_path: Path
) -> None:
    """Both have a message of it and stand before its claim. The loser says so, and
    writes nothing at all.
    """
    ctx, gates = versioned, Gates(tmp_path / "gates", BEFORE, AFTER)
    with (
        patched(tmp_path / "code", gates.code + ONE_MESSAGE),
        Worker(ctx) as one,
        Worker(ctx) as other,
    ):
        task = upload(ctx, 40, 30)
        (key,) = [
            info.key
            for info in ctx.store.list(ctx.settings.bucket_results, "receipts/")
        ]
        receipt = ctx.uploads.receipt(Path(key).stem)
        ctx.publisher.publish(
            restore_queue(receipt.priority, receipt.lane), receipt.restore_task.encode()
        )
        eventually(
            lambda: gates.there(BEFORE) == {one.process.pid, other.process.pid},
            "both before the claim",
            120,
        )
        gates.open(BEFORE)
        eventually(lambda: gates.there(AFTER), "a winner", 120)
        loser, winner = sorted(
            (one, other), key=lambda worker: worker.process.pid in gates.there(AFTER)
        )
        eventually(lambda: loser.said("task.postponed"), "the loser's word", 120)
        gates.open(AFTER)
        done = cast(Record, eventually(lambda: record(ctx, task), "the record", 120))
        eventually(lambda: winner.said("task.restored"), "the winner's word", 120)
    assert gates.there(AFTER) == {winner.process.pid}
    assert [line["task_id"] for line in loser.said("task.postponed")] == [task]
    assert not [line for line in loser.events if line["event"].startswith("task.")][1:]
    assert [
        len(winner.said(name))
        for name in ("task.begun", "task.restored", "task.postponed")
    ] == [1, 1, 0]
    assert (done.attempts, letters(ctx.settings)) == (1, [])

    written = writes(ctx)
    claims = [
        json.loads(note)
        for key, notes in written.items()
        if key.startswith("claims/")
        for note in notes
    ]
    ends = {
        key: len(notes)
        for key, notes in written.items()
        if not key.startswith(("claims/", "receipts/", "workers/"))
    }
    print(f"FAULT=F29 injected=2 winners=1 writes={len(claims)}+{sum(ends.values())}")
    assert claims
    assert {note["worker"].split("-")[-2] for note in claims} == {
        str(winner.process.pid)
    }
    assert ends == {
        f"processed/{task}.png": 1,
        f"processed/{task}.json": 1,
        f"previews/{task}.webp": 1,
    }
