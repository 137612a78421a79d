"""The worker's own loops, with stand-ins for what they call: a stage that hangs is
noticed, one that waits is not.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import Empty, Full
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest

from gpu_worker.codec import Decoder, Written
from gpu_worker.engines import DeviceLost
from gpu_worker.pipeline import retrying
from gpu_worker.pipeline.job import Job
from gpu_worker.pipeline.retrying import Patient
from gpu_worker.pipeline.store_result import Finish
from gpu_worker.worker import STAGES, Worker
from shared.broker import topology
from shared.errors import PermanentError, StorageUnavailable
from shared.runtime import heartbeat
from shared.runtime.retry import RetryPolicy
from shared.runtime.settings import Settings
from shared.s3.clock import StoreClock
from tests.support.fakes import FakeClock
from tests.support.reconcile_world import Town
from tests.support.waiting import eventually
from tests.unit.gpu_worker.codec.test_decode_child import names

LIMIT_S = 600.0


class Halt:
    """A call that returns when the test lets it."""

    def __init__(self) -> None:
        self.entered, self._over = threading.Event(), threading.Event()

    def __call__(self, *_: Any, **__: Any) -> Any:
        self.entered.set()
        assert self._over.wait(300)

    def end(self) -> None:
        self._over.set()


class Floor:
    """A worker to which the test gives deliveries and jobs. What its stages call is
    replaced, and returns at once.
    """

    def __init__(self, worker: Worker, clock: FakeClock) -> None:
        self.worker, self.clock, self.town = worker, clock, Town()
        self.loops = {
            "prepare": worker._preparing,
            "restore": worker._restoring,
            "finish": worker._finishing,
        }
        self.threads: list[threading.Thread] = []
        self.begin = worker._prepare.begin
        self.replace("begin", lambda _: self.job())
        for stage in STAGES:
            self.replace(stage, lambda _: None)

    def replace(self, call: str, stand_in: Callable[[Any], Any]) -> None:
        owner: Any = (
            self.worker._prepare if call in ("begin", "prepare") else self.worker
        )
        setattr(
            owner,
            {"prepare": "load", "restore": "_infer", "finish": "_finish"}.get(
                call, call
            ),
            stand_in,
        )

    def job(self) -> Job:
        upload = self.town.upload(f"{threading.get_ident()}.png")
        receipt = self.town.receipt(upload)
        task = SimpleNamespace(task_id=receipt.task_id, upload_id=upload)
        return Job(
            cast(Any, None),
            cast(Any, task),
            receipt,
            self.town.claim(upload),
            self.clock.now(),
        )

    def start(self, *stages: str, photos: int = 1) -> None:
        """These loops, with so many photos before the first of them."""
        for _ in range(photos):
            if stages[0] == "prepare":
                self.worker._inbox.put(cast(Any, SimpleNamespace(queue=topology.BULK)))
            else:
                job = self.job()
                self.worker._hand.take(job)
                (
                    self.worker._ready_to_restore
                    if stages[0] == "restore"
                    else self.worker._ready_to_store
                ).put(job)
        self.threads += [
            self.worker._start(stage, self.loops[stage]) for stage in stages
        ]

    def noticed(self) -> str:
        """The stage that the worker takes for stuck. What ends the process shows in its
        heartbeat, too.
        """
        stage = self.worker._stuck()
        shown = self.worker._heartbeat.fault()
        assert [name for name in STAGES if name in shown] == ([stage] if stage else [])
        return stage

    def assert_waits(self) -> None:
        """However long: whatever was on its way to its wait arrives there, and stays."""
        self.clock.advance(LIMIT_S + 1)
        eventually(lambda: not self.noticed(), "the wait")
        self.clock.advance(LIMIT_S + 1)
        assert not self.noticed()

    def close(self) -> None:
        self.worker.stop.set()
        self.worker._leave.set()

        def over() -> bool:
            running = [thread.name for thread in self.threads if thread.is_alive()]
            for stage, queue in (
                ("restore", self.worker._ready_to_restore),
                ("finish", self.worker._ready_to_store),
            ):
                with suppress(Empty, Full):
                    queue.put_nowait(None) if stage in running else queue.get_nowait()
            return not running

        eventually(over, "the end of the loops")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def floor(monkeypatch: pytest.MonkeyPatch, clock: FakeClock, tmp_path: Path) -> Floor:
    monkeypatch.setattr("gpu_worker.codec.Decoder", lambda _: None)
    monkeypatch.setattr("shared.s3.store.StoreClock", lambda: StoreClock(clock))
    monkeypatch.setattr(retrying, "POLICY", RetryPolicy(0.01, 0.02, 1_000_000))
    settings = Settings(
        s3_endpoint_url="http://127.0.0.1:1",
        s3_access_key="k",
        s3_secret_key="s",  # type: ignore[arg-type]
        broker_url="redis://127.0.0.1:1/0",
        stall_s=LIMIT_S,
        scratch_dir=tmp_path,
        max_pixels_in_hand=1,
    )
    return Floor(Worker(settings), clock)


@pytest.fixture
def halt(floor: Floor) -> Iterator[Halt]:
    """Ends, and with it the worker's threads, when the test does."""
    made = Halt()
    yield made
    made.end()
    floor.close()


@pytest.mark.parametrize(
    ("call", "stage"),
    [
        ("begin", "prepare"),
        ("prepare", "prepare"),
        ("restore", "restore"),
        ("finish", "finish"),
    ],
)
def test_a_call_that_never_returns_is_noticed(
    floor: Floor, halt: Halt, call: str, stage: str
) -> None:
    """Once the limit is over, not before; and no longer when it did return."""
    floor.replace(call, halt)
    floor.start(stage)
    assert halt.entered.wait(60)
    floor.clock.advance(LIMIT_S - 1)
    assert not floor.noticed()
    floor.clock.advance(2)
    assert floor.noticed() == stage
    halt.end()
    eventually(lambda: not floor.noticed(), "the end of the call")


def test_an_empty_inbox_is_waited_for(floor: Floor, halt: Halt) -> None:
    """All night."""
    floor.start("prepare", "restore", "finish", photos=0)
    floor.assert_waits()


def test_a_full_queue_is_waited_for(floor: Floor, halt: Halt) -> None:
    """Nothing takes the results: both stages before it are full, and hold what they
    have.
    """
    floor.start("prepare", "restore", photos=5)
    eventually(
        lambda: (
            floor.worker._ready_to_store.full()
            and floor.worker._ready_to_restore.full()
        ),
        "full queues",
    )
    floor.assert_waits()


def test_room_is_waited_for(floor: Floor, halt: Halt) -> None:
    """A photo in hand leaves none for the next."""
    first = floor.job()
    floor.worker._hand.take(first)
    entered = threading.Event()

    def begin(_: object) -> None:
        entered.set()
        assert not floor.worker._prepare._wait_for_room(first.receipt)

    floor.replace("begin", begin)
    floor.start("prepare")
    assert entered.wait(60)
    floor.assert_waits()


def away(_: object) -> Any:
    raise StorageUnavailable("away")


@pytest.mark.parametrize("stage", ["prepare", "finish"])
@pytest.mark.parametrize("how", ["away", "frozen"])
def test_a_service_is_waited_for(
    floor: Floor, halt: Halt, stage: str, how: str
) -> None:
    """One that refuses, and one that takes the call and says nothing. A call that hangs
    afterwards is noticed.
    """
    answers = {"away": away, "frozen": halt}
    service = SimpleNamespace(read=lambda key: answers[how](key))
    store, entered, later = (
        Patient(service, floor.worker._leave),
        threading.Event(),
        Halt(),
    )

    def work(_: Job) -> None:
        entered.set()
        store.read("key")
        later()

    floor.replace(stage, work)
    floor.start(stage)
    assert entered.wait(60)
    floor.assert_waits()
    answers["away"] = lambda _: None
    halt.end()
    assert later.entered.wait(60)
    assert not floor.noticed()
    floor.clock.advance(LIMIT_S + 1)
    assert floor.noticed() == stage
    later.end()


def test_the_upkeep_of_a_photo_is_waited_for(floor: Floor, halt: Halt) -> None:
    """It has the photo's lock, and may itself wait for a store that is away."""
    held = Halt()

    def work(job: Job) -> None:
        with job.lock:
            ending = threading.Thread(
                target=lambda: (
                    heartbeat.give(floor.worker._pulses["finish"]),
                    job.end(),
                )
            )
            ending.start()
            held()
        ending.join()

    floor.replace("finish", work)
    floor.start("finish")
    assert held.entered.wait(60)
    floor.assert_waits()
    held.end()


def test_a_decoder_has_a_limit_of_its_own(
    floor: Floor, halt: Halt, tmp_path: Path
) -> None:
    """The worker waits for it in any case."""
    decoder, entered = (
        Decoder(Settings(), "tests.support.hostile_decoder"),
        threading.Event(),
    )

    def load(_: Job) -> None:
        entered.set()
        with suppress(PermanentError):
            decoder.decode(f"wait {tmp_path / 'marker'}".encode(), 1000)

    floor.replace("prepare", load)
    floor.start("prepare")
    assert entered.wait(60)
    service = psutil.Process(decoder._service._process.pid)  # type: ignore[union-attr]
    eventually(lambda: "in hand" in names(service), "the photo in its decoder's hands")
    floor.assert_waits()
    (tmp_path / "marker").touch()
    decoder.close()


def test_a_disk_that_hangs_while_its_file_is_sent_is_noticed(
    floor: Floor, halt: Halt
) -> None:
    """The store's slowness may take any time, the disk's may not."""

    class File(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            halt()
            return super().read(size)

    sending = Halt()

    def put_new(_bucket: str, _key: str, file: Any, *_: object) -> bool:
        sending()
        return bool(file.read(10))

    ctx = floor.worker._ctx
    store: Any = Patient(SimpleNamespace(put_new=put_new), floor.worker._leave)
    finish = Finish(replace(ctx, store=store), floor.worker._outcomes, None)

    def work(job: Job) -> None:
        job.restored = cast(Any, SimpleNamespace(engine="e", device="d"))
        finish._store(job, File(b"png"), Written("sha", 3))

    floor.replace("finish", work)
    floor.start("finish")
    assert sending.entered.wait(60)
    floor.assert_waits()
    sending.end()
    assert halt.entered.wait(60)
    floor.clock.advance(LIMIT_S + 1)
    assert floor.noticed() == "finish"


class Watch:
    """Stands in for the watch's wait: `seconds` of each turn pass for the whole
    process; then it closes.
    """

    def __init__(self, clock: FakeClock, *seconds: float) -> None:
        self._clock, self._turns = clock, iter(seconds)

    def wait(self, _: float) -> bool:
        seconds = next(self._turns, None)
        self._clock.advance(seconds or 0)
        return seconds is None


@pytest.mark.parametrize(
    ("turns", "ends"),
    [
        ((1.0,) * int(LIMIT_S + 2), ["restore"]),
        ((2 * LIMIT_S, 1.0, 1.0), []),
        ((2 * LIMIT_S, *(1.0,) * int(LIMIT_S + 2)), ["restore"]),
    ],
    ids=["hangs", "pause", "pause, then hangs"],
)
def test_a_pause_of_the_whole_process_is_no_silence(
    floor: Floor,
    halt: Halt,
    monkeypatch: pytest.MonkeyPatch,
    turns: tuple[float, ...],
    ends: list[str],
) -> None:
    """Stopped and continued, or a machine that slept: no stage could show life, and the
    photo on the device is fine.
    """
    told: list[str] = []
    monkeypatch.setattr(
        "gpu_worker.worker.os._exit", lambda _: told.append(floor.noticed())
    )
    monkeypatch.setattr(
        floor.worker._consumer, "stuck_s", lambda: 2 * LIMIT_S if len(turns) == 3 else 0
    )
    monkeypatch.setattr(floor.worker._upkeep, "look_after", lambda _: None)
    floor.replace("restore", halt)
    floor.start("restore")
    assert halt.entered.wait(60)
    floor.worker._watching(cast(Any, Watch(floor.clock, *turns)))
    assert told[:1] == ends
    assert not floor.worker._lost


def test_a_lost_device_costs_the_photo_on_it_an_attempt_and_no_other(
    floor: Floor, halt: Halt
) -> None:
    """It is asked once. The other photo stays in hand, and is handed back."""
    asked: list[Job] = []

    def lost(job: Job) -> None:
        asked.append(job)
        raise DeviceLost("CUDA error: an illegal memory access was encountered")

    floor.replace("restore", lost)
    floor.start("restore")
    eventually(floor.worker.stop.is_set, "the worker's wish to leave")
    later = floor.job()
    floor.worker._hand.take(later)
    floor.worker._ready_to_restore.put(later)
    floor.worker._ready_to_restore.put(None)
    floor.threads[0].join(60)
    assert len(asked) == 1
    assert floor.worker._hand.jobs() == [later]
    assert floor.worker._lost
