"""One seeded run: uploads and faults interleaved, then a judgement of everything that
is left.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TypeVar

from shared.errors import StorageUnavailable
from shared.s3.store import S3Store
from shared.uploads import identity
from tests.chaos import faults
from tests.chaos.footprint import Footprint
from tests.chaos.judge import Verdict, judge
from tests.chaos.relay import Relay
from tests.chaos.uploads import Draft, drafts
from tests.chaos.world import World
from tests.support.admin import as_admin

T = TypeVar("T")
SETTLE_S = 240.0


@dataclass
class Upload:
    """What the store has acknowledged. `superseded`: overwritten or deleted by its
    owner afterwards.
    """

    draft: Draft
    upload_id: str
    acknowledged: datetime
    superseded: bool = False


@dataclass
class Run:
    """The uploads, in order, and the faults that were made."""

    seed: int
    uploads: list[Upload] = field(default_factory=list)
    injected: Counter[str] = field(default_factory=Counter)
    ended: datetime = datetime.min


def schedule(
    count: int, seed: int, kinds: dict[str, tuple[int, faults.Fault]]
) -> list[str]:
    """`count` names of faults: each kind once while there is room, then by weight; the
    same seed, the same faults.
    """
    rng = random.Random(seed)
    names = rng.sample(sorted(kinds), min(count, len(kinds)))
    names += rng.choices(
        sorted(kinds), [kinds[name][0] for name in sorted(kinds)], k=count - len(names)
    )
    rng.shuffle(names)
    return names


def shares(uploads: int, names: list[str]) -> Iterator[tuple[str, int]]:
    """Each fault, and how many of the uploads arrive meanwhile."""
    for number, name in enumerate(names):
        yield (
            name,
            uploads * (number + 1) // len(names) - uploads * number // len(names),
        )


def run(
    folder: Path,
    seed: int,
    plan: Iterable[tuple[str, int]],
    kinds: dict[str, tuple[int, faults.Fault]],
    say: Callable[[str], None],
    footprint: Footprint | None = None,
) -> Verdict:
    """Start a stack in `folder`, break it by `plan` (a fault, and the files that arrive
    meanwhile), and judge.
    """
    done = Run(seed)
    with (
        _world(folder, seed) as world,
        footprint.taken(folder) if footprint else nullcontext(),
    ):
        # so that a second writing would show
        S3Store(as_admin(world.settings)).client.put_bucket_versioning(
            Bucket=world.settings.bucket_results,
            VersioningConfiguration={"Status": "Enabled"},
        )
        coming = drafts(seed)
        for number, (name, count) in enumerate(plan):
            began_s = time.monotonic()
            share = list(islice(coming, count))
            _make(world, kinds[name][1], random.Random(f"{seed} {number}"), share, done)
            done.injected[name] += 1
            say(
                f"{number + 1:4} {name:24} {time.monotonic() - began_s:5.1f} s  {len(done.uploads):5} uploads"
            )
        done.ended = datetime.now(UTC)
        return judge(world, done, SETTLE_S)


@contextmanager
def _world(folder: Path, seed: int) -> Iterator[World]:
    relay = Relay(seed)
    world = World(folder, relay)
    try:
        world.start()
        yield world
    finally:
        if world.process:
            world.stop()
        relay.close()


def _make(
    world: World, fault: faults.Fault, rng: random.Random, share: list[Draft], done: Run
) -> None:
    """One fault, with its share of the uploads."""
    under_way = fault(world, rng)
    next(under_way)
    sender = threading.Thread(
        target=lambda: [_send(world, draft, done) for draft in share], daemon=True
    )
    sender.start()
    next(under_way, None)
    sender.join()


def _send(world: World, draft: Draft, done: Run) -> None:
    """Upload until the store says that it has it; only then it counts."""
    bucket = world.settings.bucket_uploads
    info = _patiently(
        lambda: world.store.put(
            bucket, draft.key, draft.data, "image/png", draft.metadata
        )
    )
    sent = Upload(
        draft, identity.upload_id(bucket, draft.key, info.etag), datetime.now(UTC)
    )
    for earlier in done.uploads:
        earlier.superseded |= earlier.draft.key == draft.key
    if draft.kind == "withdrawn":
        _patiently(lambda: world.store.delete(bucket, draft.key))
        sent.superseded = True
    done.uploads.append(sent)


def _patiently(call: Callable[[], T]) -> T:
    while True:
        try:
            return call()
        except StorageUnavailable:
            time.sleep(0.2)
