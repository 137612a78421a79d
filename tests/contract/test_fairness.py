"""One user's thousand photos do not hold up another's one, on every broker."""

from __future__ import annotations

import pytest

from gpu_worker.pipeline.inbox import Inbox
from gpu_worker.pipeline.lanes import Lanes
from shared.broker.publisher import Publisher
from shared.broker.topology import LANES, RESTORE, lane_of
from shared.runtime.settings import Settings
from shared.s3.clock import SystemClock
from shared.uploads import identity
from tests.support.harness import consuming
from tests.support.waiting import eventually

CROWD = 200
PREFETCH = Lanes(1, 1).most_photos
"""Of each queue, as a worker on a CPU has them."""


@pytest.fixture
def lanes() -> tuple[str, str]:
    """Of two users who do not share one."""
    ann, bob = (lane_of(identity.user_hash(user, b"pepper")) for user in ("ann", "bob"))
    assert ann != bob
    return LANES[ann], LANES[bob]


def test_a_single_photo_does_not_wait_behind_a_crowd(
    settings: Settings, lanes: tuple[str, str]
) -> None:
    """A worker that does nothing takes 200 photos of one user; another's photo, put
    behind them, is among the next.
    """
    publisher = Publisher(settings)
    publisher.publish_many(
        lanes[0], [f"ann {number}".encode() for number in range(CROWD)]
    )
    inbox, done = Inbox(SystemClock()), list[bytes]()
    with consuming(settings, dict.fromkeys(RESTORE, PREFETCH), inbox.put) as taken:

        def work(photos: int) -> None:
            while len(done) < photos:
                if delivery := inbox.next(timeout_s=0.2):
                    done.append(delivery.body)
                    delivery.ack()

        eventually(lambda: len(taken.deliveries) >= PREFETCH, "the worker has begun")
        work(20)
        publisher.publish(lanes[1], b"bob")
        before = len(done)
        eventually(lambda: b"bob" in taken.bodies(), "the broker hands it over")
        work(CROWD + 1)
    position = done.index(b"bob") - before + 1
    print(f"crowd={CROWD} position={position} of {len(done) - before}")
    assert position <= 2
    assert sorted(done) == sorted(
        [b"bob", *(f"ann {number}".encode() for number in range(CROWD))]
    )
    publisher.close()
