"""Several photos in preparation and in storing at once."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu_worker.codec import Decoders
from gpu_worker.pipeline import lanes as lanes_module
from gpu_worker.pipeline.in_flight import InFlight
from gpu_worker.pipeline.job import Job
from gpu_worker.pipeline.lanes import FEWEST, MOST, Lanes
from gpu_worker.pipeline.stages import PREPARE, RESTORE, STAGES, STORE_RESULT
from shared.runtime.settings import Settings, WorkerSettings
from tests.support.waiting import eventually
from tests.unit.gpu_worker.pipeline.test_in_flight import SMALL, photo
from tests.unit.gpu_worker.pipeline.test_stuck_stages import LIMIT_S, Halt, Rig

PHOTOS = 12
TOGETHER_S = 60.0


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Rig:
    """With three lanes of either stage."""
    monkeypatch.setattr("gpu_worker.codec.Decoder", lambda _: None)
    settings = Settings(
        pepper="p",
        stall_s=LIMIT_S,
        scratch_dir=tmp_path,
        prepare_lanes=3,
        store_lanes=3,
    )  # type: ignore[arg-type]
    return Rig(settings)


def leave(rig: Rig) -> None:
    """The worker leaves, and every lane ends."""
    rig.pipeline.shutdown.request()
    for thread in rig.threads:
        thread.join(TOGETHER_S)
    assert not any(thread.is_alive() for thread in rig.threads)


@pytest.mark.parametrize("stage", [PREPARE, STORE_RESULT])
def test_photos_are_worked_on_at_once(rig: Rig, stage: str) -> None:
    """As many as there are lanes, none more; each goes through every stage once."""
    together = threading.Barrier(3)
    seen = dict[str, list[int]]()

    def work(name: str) -> Any:
        def note(job: Job) -> None:
            seen.setdefault(name, []).append(id(job))
            if name == stage:
                together.wait(TOGETHER_S)

        return note

    jobs = list[Job]()
    begin = rig.job

    def begun(_: object) -> Job:
        jobs.append(begin())
        return jobs[-1]

    rig.replace("begin", begun)
    for name in STAGES:
        rig.replace(name, work(name))
    rig.start(*STAGES, photos=PHOTOS)
    ids = lambda: sorted(seen.get(STORE_RESULT, []))  # noqa: E731
    eventually(lambda: len(ids()) == PHOTOS, "every photo")
    leave(rig)
    assert all(sorted(there) == ids() for there in seen.values())
    assert not rig.pipeline.in_flight.jobs()
    assert len({id(job) for job in jobs}) == PHOTOS


def test_only_so_many_photos_are_ahead_of_the_device(rig: Rig) -> None:
    """Which is next is decided as late as possible, also beside several lanes."""
    device, prepared = Halt(), list[Job]()
    rig.replace(RESTORE, device)
    rig.replace(PREPARE, prepared.append)
    rig.start(*STAGES, photos=PHOTOS)
    assert device.entered.wait(TOGETHER_S)
    eventually(lambda: rig.pipeline.loops.to_restore.full(), "three photos ahead")
    assert len(prepared) == 4
    assert len(rig.pipeline.in_flight.jobs()) == 4
    device.end()
    eventually(lambda: len(prepared) == PHOTOS, "the other photos")
    leave(rig)


def test_the_lane_that_hangs_is_named_and_the_others_go_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The photo in it has lost an attempt; every other one that is in flight then is
    released.
    """
    hang, released = Halt(), list[Job]()
    done = list[Job]()
    entered = threading.Lock()

    def work(job: Job) -> None:
        if entered.acquire(blocking=False):
            hang()
        done.append(job)

    rig.replace(STORE_RESULT, work)
    monkeypatch.setattr(rig.pipeline.outcomes, "release", released.append)
    rig.start(*STAGES, photos=PHOTOS)
    eventually(lambda: len(done) == PHOTOS - 1, "the photos beside the one that hangs")
    rig.clock.advance(LIMIT_S + 1)
    lane = rig.pipeline.pulses.stuck()
    assert lane.startswith(STORE_RESULT)
    hanging = rig.pipeline.runner.job_in(lane)
    assert rig.pipeline.in_flight.jobs() == [hanging]
    beside = rig.job()
    rig.pipeline.in_flight.add(beside)
    rig.pipeline._drain.release(hanging)
    assert released == [beside]
    hang.end()
    leave(rig)


def test_room_is_for_one_photo_however_many_ask(rig: Rig) -> None:
    """Between the room and the job is a request to the store: nobody else begins in
    it.
    """
    in_flight, never = InFlight(SMALL), threading.Event()
    has_room, claims = list[int](), Halt()

    def begin(number: int) -> None:
        job = photo(rig.town, f"{number}.png")
        with in_flight.beginning():
            assert in_flight.wait_for_room(job.receipt, never)
            has_room.append(number)
            claims()
            in_flight.add(job)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    assert claims.entered.wait(TOGETHER_S)
    assert len(has_room) == 1
    claims.end()
    for count in (1, 2, 3):
        eventually(lambda: len(in_flight.jobs()) == 1, "a photo in flight")
        assert len(has_room) == count
        in_flight.remove(in_flight.jobs()[0])
    for thread in threads:
        thread.join(TOGETHER_S)


@pytest.mark.parametrize(
    ("device", "cores", "count"),
    [("cpu", 64, 1), ("cuda", 2, FEWEST), ("cuda", 12, 12), ("cuda", 64, MOST)],
)
def test_a_cpu_keeps_its_cores(
    monkeypatch: pytest.MonkeyPatch, device: str, cores: int, count: int
) -> None:
    monkeypatch.setattr(lanes_module.os, "cpu_count", lambda: cores)
    assert Lanes.of(WorkerSettings(), device) == Lanes(count, count)
    given = WorkerSettings(prepare_lanes=2, store_lanes=3)
    assert Lanes.of(given, device) == Lanes(2, 3)
    assert Lanes(2, 3).most_photos == 6


def test_as_many_decoders_as_lanes() -> None:
    """A second one is made when the first is busy; a third caller waits for either."""
    together, made = threading.Barrier(2), list[object]()

    class Decoder:
        def __init__(self) -> None:
            made.append(self)

        def decode(self, *_: object) -> object:
            together.wait(TOGETHER_S)
            return np.zeros((1, 1, 3), np.uint8)

    make: Any = Decoder
    decoders = Decoders(make, 2)
    assert len(made) == 1
    threads = [threading.Thread(target=decoders.decode, args=(b"",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TOGETHER_S)
    assert not any(thread.is_alive() for thread in threads)
    assert len(made) == 2
