"""Small photos pass a big one on the device, between two of its tiles."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from gpu_worker.engines import DeviceLost
from gpu_worker.pipeline.begin import Later
from gpu_worker.pipeline.in_flight import PASSING_PART, InFlight, pixels
from gpu_worker.pipeline.job import Job
from gpu_worker.pipeline.pipeline import BEHIND_A_BIG_ONE_S
from gpu_worker.pipeline.stages import RESTORE, STORE_RESULT
from shared.runtime.settings import Settings, WorkerSettings
from tests.support.reconcile_world import Town
from tests.support.waiting import eventually
from tests.unit.gpu_worker.pipeline.test_in_flight import SMALL, photo
from tests.unit.gpu_worker.pipeline.test_stuck_stages import LIMIT_S, Halt, Rig

TILES = 6
TILE_S = 10.0
SIDE = 4
"""A big photo is so many times as wide and high as a small one."""


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr("gpu_worker.codec.Decoder", lambda _: None)
    made = Rig(Settings(pepper="p", stall_s=LIMIT_S))  # type: ignore[arg-type]
    yield made
    made.close()


class Device:
    """Restores big photos in `TILES` tiles, others in one; each takes `TILE_S`. Notes
    the order in which photos are done, and the tile of the big one meanwhile.
    """

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.done = list[tuple[Job, int]]()
        self.tile = 0
        self.fault: Exception | None = None
        self.hang: Halt | None = None

    def __call__(self, job: Job) -> None:
        if pixels(job.receipt) == SMALL:
            if self.fault:
                raise self.fault
            if self.hang:
                self.hang()
            self._rig.clock.advance(TILE_S)
        else:
            for self.tile in range(1, TILES + 1):
                self._rig.clock.advance(TILE_S)
                if self.tile < TILES:
                    # As engines do it: by a thread of their own.
                    run(lambda: self._rig.pipeline._passing(job))
        self.done.append((job, self.tile))


def run(call: Any) -> None:
    """In another thread, with what it raises."""
    raised = list[BaseException]()

    def target() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    if raised:
        raise raised[0]


def start(rig: Rig, device: Device, *others: Job) -> Job:
    """A big photo on the device, and others that wait behind it."""
    big = photo(rig.town, "big.png", side=SIDE)
    assert pixels(big.receipt) >= PASSING_PART * SMALL
    loops = rig.pipeline.loops
    loops.to_restore.maxsize = 1 + len(others)
    for job in (big, *others):
        rig.pipeline.in_flight.add(job)
        loops.to_restore.put(job)
    rig.replace(RESTORE, device)
    rig.start(RESTORE, STORE_RESULT, photos=0)
    return big


def test_a_small_photo_waits_for_one_tile(rig: Rig) -> None:
    """And the record of the big one says what its time contains."""
    device = Device(rig)
    small = photo(rig.town, "small.png")
    big = start(rig, device, small)
    eventually(lambda: len(device.done) == 2, "both photos")
    assert device.done == [(small, 1), (big, TILES)]
    assert (big.passed_by, big.passed_s) == (1, TILE_S)
    assert big.peak_memory_bytes > 0
    eventually(lambda: not rig.pipeline.in_flight.jobs(), "the end of both")
    assert big.busy_s == TILES * TILE_S


def test_a_big_photo_keeps_half_of_the_device(rig: Rig) -> None:
    """However many wait, it goes on for as long as they took."""
    device = Device(rig)
    many = [photo(rig.town, f"{number}.png") for number in range(2 * TILES)]
    big = start(rig, device, *many)
    eventually(lambda: len(device.done) == 2 * TILES + 1, "every photo")
    before = device.done[: device.done.index((big, TILES))]
    assert [job for job, _ in before] == many[: len(before)]
    assert [tile for _, tile in before] == [1, 1, 2, 3, 4, 5]
    assert big.passed_by == len(before)


def test_one_of_its_own_size_does_not_pass(rig: Rig) -> None:
    """Nor what waits behind that."""
    device = Device(rig)
    other = photo(rig.town, "other.png", side=2)
    small = photo(rig.town, "small.png")
    big = start(rig, device, other, small)
    eventually(lambda: len(device.done) == 3, "every photo")
    assert [job for job, _ in device.done] == [big, other, small]


def test_a_device_lost_to_the_one_that_passes_costs_the_other_nothing(
    rig: Rig,
) -> None:
    """It stays in flight, and is released; no other is tried."""
    device = Device(rig)
    device.fault = DeviceLost("CUDA error: unspecified launch failure")
    small, next_one = photo(rig.town, "small.png"), photo(rig.town, "next.png")
    big = start(rig, device, small, next_one)
    pipeline = rig.pipeline
    eventually(pipeline.shutdown.requested.is_set, "the worker's wish to leave")
    eventually(lambda: pipeline.runner.job_in(RESTORE) is None, "an idle device")
    eventually(pipeline.loops.to_restore.empty, "an empty queue")
    assert pipeline.in_flight.jobs() == [big, next_one]
    assert device.done == []
    assert pipeline.shutdown.is_fault


def test_one_that_hangs_while_it_passes_is_noticed_alone(rig: Rig) -> None:
    """Its attempt counts, and not that of the photo which it passes."""
    device = Device(rig)
    device.hang = Halt()
    small = photo(rig.town, "small.png")
    big = start(rig, device, small)
    assert device.hang.entered.wait(60)
    rig.clock.advance(LIMIT_S + 1)
    assert rig.noticed() == RESTORE
    assert rig.pipeline.runner.job_in(RESTORE) is small
    device.hang.end()
    eventually(lambda: len(device.done) == 2, "both photos")
    assert device.done[1][0] is big
    assert not rig.noticed()


def test_who_has_no_room_beside_a_big_one_lets_others_begin(rig: Rig) -> None:
    """It is looked at again, and has its turn when the big one is done."""
    pipeline = rig.pipeline
    most = pipeline.ctx.settings.max_pixels_in_hand
    side = int((most / SMALL) ** 0.5) + 1
    big = photo(rig.town, "big.png", side=side)
    middle = photo(rig.town, "middle.png", side=side // 2)
    small = photo(rig.town, "small.png")
    pipeline.in_flight.add(big)
    assert pipeline._wait_for_room(middle.receipt) == Later(BEHIND_A_BIG_ONE_S)
    assert pipeline._wait_for_room(small.receipt) is True
    pipeline.in_flight.remove(big)
    assert pipeline._wait_for_room(middle.receipt) is True


def test_two_big_ones_are_not_in_flight_together() -> None:
    """Only what is small passes: memory stays bounded."""
    town, limit = Town(), WorkerSettings().max_pixels_in_hand
    in_flight = InFlight(limit)
    side = int((limit / SMALL) ** 0.5) + 1
    in_flight.add(photo(town, "big.png", side=side))
    assert in_flight.is_behind_a_big_one(photo(town, "b.png", side=side).receipt)
    part = int((limit / PASSING_PART / SMALL) ** 0.5)
    assert not in_flight.is_behind_a_big_one(photo(town, "c.png", side=part).receipt)
    assert in_flight.is_behind_a_big_one(photo(town, "d.png", side=part + 1).receipt)
