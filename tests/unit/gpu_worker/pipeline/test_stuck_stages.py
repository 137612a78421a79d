"""The loops of the pipeline, with stand-ins for what they call: a stage that hangs is
noticed, one that waits is not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, Full, Queue
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import psutil
import pytest

from gpu_worker.codec import Decoder
from gpu_worker.engines import DeviceLost
from gpu_worker.photo import Photo
from gpu_worker.pipeline import retrying
from gpu_worker.pipeline.job import Job
from gpu_worker.pipeline.pipeline import Pipeline
from gpu_worker.pipeline.stages import PREPARE, RESTORE, STAGES, STORE_RESULT
from gpu_worker.pipeline.store_result import StoreResult
from gpu_worker.restore import Restored
from shared.broker import topology
from shared.errors import PermanentError, StorageUnavailable
from shared.runtime import heartbeat
from shared.runtime.heartbeat import Heartbeat
from shared.runtime.retry import RetryPolicy
from shared.runtime.settings import Settings
from shared.uploads.messages import RestoreTask
from shared.workflows import resolve
from tests.support.fake_clock import FakeClock
from tests.support.memory_store import MemoryStore
from tests.support.reconcile_world import BUCKETS, Town
from tests.support.waiting import eventually
from tests.unit.gpu_worker.codec.test_decode_child import names

LIMIT_S = 600.0
BEGIN = "begin"
ATTRIBUTES = {STORE_RESULT: "store_result"}
"""Where a stand-in goes, if its name is another."""


class Halt:
    """A call that returns when the test lets it."""

    def __init__(self) -> None:
        self.entered, self._over = threading.Event(), threading.Event()

    def __call__(self, *_: Any, **__: Any) -> Any:
        self.entered.set()
        assert self._over.wait(300)

    def end(self) -> None:
        self._over.set()


class Rig:
    """A pipeline to which the test gives deliveries and jobs. Its stages are replaced
    by stand-ins that return at once.
    """

    def __init__(self, settings: Settings, store: MemoryStore | None = None) -> None:
        self.town = Town()
        self.clock = self.town.clock
        self.pipeline = Pipeline(
            settings,
            store or self.town.store,
            self.town.publisher,
            self.clock,
            cast(Any, SimpleNamespace(name="ncnn", device="cpu")),
        )
        self.heartbeat = Heartbeat(
            settings, self.pipeline.pulses.parts(), dict.fromkeys(STAGES, LIMIT_S)
        )
        self.threads: list[threading.Thread] = []
        self.replace(BEGIN, lambda _: self.job())
        for stage in STAGES:
            self.replace(stage, lambda _: None)

    def replace(self, call: str, stand_in: Callable[[Any], Any]) -> None:
        setattr(self.pipeline.stages, ATTRIBUTES.get(call, call), stand_in)

    def job(self) -> Job:
        upload = self.town.upload(f"{threading.get_ident()}.png")
        receipt = self.town.receipt(upload)
        task = RestoreTask(
            task_id=receipt.task_id or "",
            upload_id=upload,
            priority="bulk",
            queued_at=receipt.decided_at,
        )
        delivery: Any = SimpleNamespace(ack=lambda: None)
        claim = self.town.claim(upload)
        return Job(delivery, task, receipt, claim, self.clock.now())

    def start(self, *stages: str, photos: int = 1) -> None:
        """These loops, with so many photos before the first of them."""
        for _ in range(photos):
            self._give(stages[0])
        self.threads += self.pipeline.start(*stages)

    def _give(self, stage: str) -> None:
        if stage == PREPARE:
            delivery: Any = SimpleNamespace(queue=topology.BULK)
            self.pipeline.inbox.put(delivery)
            return
        job = self.job()
        self.pipeline.in_flight.add(job)
        self._before(stage).put(job)

    def _before(self, stage: str) -> Queue[Job | None]:
        loops = self.pipeline.loops
        return loops.to_restore if stage == RESTORE else loops.to_store

    def noticed(self) -> str:
        """The stage that counts as stuck. What ends the process shows in its heartbeat,
        too.
        """
        stage = self.pipeline.pulses.stuck()
        fault = self.heartbeat.fault()
        assert [name for name in STAGES if name in fault] == ([stage] if stage else [])
        return stage

    def assert_waits(self) -> None:
        """However long: whatever was on its way to its wait arrives there, and stays."""
        self.clock.advance(LIMIT_S + 1)
        eventually(lambda: not self.noticed(), "the wait")
        self.clock.advance(LIMIT_S + 1)
        assert not self.noticed()

    def close(self) -> None:
        self.pipeline.shutdown.request()
        self.pipeline.shutdown.forced.set()
        eventually(self._is_over, "the end of the loops")

    def _is_over(self) -> bool:
        running = [thread.name for thread in self.threads if thread.is_alive()]
        for stage in (RESTORE, STORE_RESULT):
            queue = self._before(stage)
            with suppress(Empty, Full):
                if stage in running:
                    queue.put_nowait(None)
                else:
                    queue.get_nowait()
        return not running


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    monkeypatch.setattr("gpu_worker.codec.Decoder", lambda _: None)
    monkeypatch.setattr(retrying, "POLICY", RetryPolicy(0.01, 0.02))
    return Settings(
        pepper="p", stall_s=LIMIT_S, scratch_dir=tmp_path, max_pixels_in_hand=1
    )  # type: ignore[arg-type]


@pytest.fixture
def rig(settings: Settings) -> Rig:
    return Rig(settings)


@pytest.fixture
def halt(rig: Rig) -> Iterator[Halt]:
    """Ends, and with it the threads of the pipeline, when the test does."""
    made = Halt()
    yield made
    made.end()
    rig.close()


@pytest.mark.parametrize(
    ("call", "stage"),
    [
        (BEGIN, PREPARE),
        (PREPARE, PREPARE),
        (RESTORE, RESTORE),
        (STORE_RESULT, STORE_RESULT),
    ],
)
def test_a_call_that_never_returns_is_noticed(
    rig: Rig, halt: Halt, call: str, stage: str
) -> None:
    """Once the limit is over, not before; and no longer when it did return."""
    rig.replace(call, halt)
    rig.start(stage)
    assert halt.entered.wait(60)
    rig.clock.advance(LIMIT_S - 1)
    assert not rig.noticed()
    rig.clock.advance(2)
    assert rig.noticed() == stage
    halt.end()
    eventually(lambda: not rig.noticed(), "the end of the call")


@pytest.mark.usefixtures("halt")
def test_an_empty_inbox_is_waited_for(rig: Rig) -> None:
    """All night."""
    rig.start(*STAGES, photos=0)
    rig.assert_waits()


@pytest.mark.usefixtures("halt")
def test_a_full_queue_is_waited_for(rig: Rig) -> None:
    """Nothing takes the results: both stages before it are full, and hold what they
    have.
    """
    loops = rig.pipeline.loops
    rig.start(PREPARE, RESTORE, photos=5)
    eventually(lambda: loops.to_store.full(), "a full queue of results")
    eventually(lambda: loops.to_restore.full(), "a full queue of photos")
    rig.assert_waits()


@pytest.mark.usefixtures("halt")
def test_room_is_waited_for(rig: Rig) -> None:
    """A photo in flight leaves none for the next."""
    pipeline, entered = rig.pipeline, threading.Event()
    first = rig.job()
    pipeline.in_flight.add(first)

    def begin(_: object) -> None:
        entered.set()
        leaving = pipeline.shutdown.requested
        assert not pipeline.in_flight.wait_for_room(first.receipt, leaving)

    rig.replace(BEGIN, begin)
    rig.start(PREPARE)
    assert entered.wait(60)
    rig.assert_waits()


class ReplacedRead(MemoryStore):
    """Reads by a function of the test."""

    answer: Callable[[], object]

    def read(self, *_: object) -> bytes:  # type: ignore[override]
        self.answer()
        return b""


def away() -> None:
    raise StorageUnavailable("away")


@pytest.mark.parametrize("stage", [PREPARE, STORE_RESULT])
@pytest.mark.parametrize("is_frozen", [False, True], ids=["away", "frozen"])
def test_a_service_is_waited_for(
    settings: Settings, stage: str, is_frozen: bool
) -> None:
    """One that refuses, and one that takes the request and says nothing. A call that
    hangs afterwards is noticed.
    """
    store, silence, later = ReplacedRead(), Halt(), Halt()
    store.answer = silence if is_frozen else away
    rig, entered = Rig(settings, store), threading.Event()

    def work(_: Job) -> None:
        entered.set()
        rig.pipeline.ctx.store.read("results", "key")
        later()

    rig.replace(stage, work)
    rig.start(stage)
    assert entered.wait(60)
    rig.assert_waits()
    store.answer = lambda: None
    silence.end()
    assert later.entered.wait(60)
    assert not rig.noticed()
    rig.clock.advance(LIMIT_S + 1)
    assert rig.noticed() == stage
    later.end()
    rig.close()


@pytest.mark.usefixtures("halt")
def test_a_renewal_of_the_lease_is_waited_for(rig: Rig) -> None:
    """It has the job's lock, and may itself wait for a store that is away."""
    held = Halt()
    pulse = rig.pipeline.pulses.by_lane[STORE_RESULT]

    def end(job: Job) -> None:
        heartbeat.give(pulse)
        job.end()

    def work(job: Job) -> None:
        with job.lock:
            ending = threading.Thread(target=end, args=(job,))
            ending.start()
            held()
        ending.join()

    rig.replace(STORE_RESULT, work)
    rig.start(STORE_RESULT)
    assert held.entered.wait(60)
    rig.assert_waits()
    held.end()


@pytest.mark.usefixtures("halt")
def test_a_decoder_has_a_limit_of_its_own(rig: Rig, tmp_path: Path) -> None:
    """The worker waits for it in any case."""
    decoder = Decoder(Settings(), "tests.support.hostile_decoder")
    entered = threading.Event()

    def load(_: Job) -> None:
        entered.set()
        with suppress(PermanentError):
            decoder.decode(f"wait {tmp_path / 'marker'}".encode(), 1000)

    rig.replace(PREPARE, load)
    rig.start(PREPARE)
    assert entered.wait(60)
    service = psutil.Process(decoder._service._process.pid)  # type: ignore[union-attr]
    eventually(lambda: "in hand" in names(service), "the photo in its decoder's hands")
    rig.assert_waits()
    (tmp_path / "marker").touch()
    decoder.close()


class SlowStore(MemoryStore):
    """Takes a result when the test lets it."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock, BUCKETS)
        self.sending = Halt()

    def put_new(self, bucket: str, key: str, *args: Any) -> bool:
        self.sending()
        return super().put_new(bucket, key, *args)


def test_a_disk_that_hangs_while_its_file_is_sent_is_noticed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store's slowness may take any time, the disk's may not."""
    hanging_disk = Halt()

    def read(*_: object) -> bytes:
        hanging_disk()
        return b"png"

    monkeypatch.setattr("tempfile.SpooledTemporaryFile.read", read)
    store = SlowStore(FakeClock())
    rig = Rig(settings, store)
    store_result = StoreResult(rig.pipeline.ctx, rig.pipeline.outcomes, None)

    def work(job: Job) -> None:
        pixels = np.zeros((3, 4, 3), np.uint8)
        job.workflow = resolve("fast")
        job.restored = Restored(Photo(pixels), [], {}, "ncnn", "cpu", 1)
        store_result(job)

    rig.replace(STORE_RESULT, work)
    rig.start(STORE_RESULT)
    assert store.sending.entered.wait(60)
    rig.assert_waits()
    store.sending.end()
    assert hanging_disk.entered.wait(60)
    rig.clock.advance(LIMIT_S + 1)
    assert rig.noticed() == STORE_RESULT
    hanging_disk.end()
    rig.close()


class Closing:
    """Stands in for the watchdog's event: `seconds` of each turn pass for the whole
    process; then it is set.
    """

    def __init__(self, clock: FakeClock, *seconds: float) -> None:
        self._clock, self._turns = clock, iter(seconds)

    def wait(self, _: float) -> bool:
        seconds = next(self._turns, None)
        self._clock.advance(seconds or 0)
        return seconds is None


SECOND_BY_SECOND = (1.0,) * int(LIMIT_S + 2)


@pytest.mark.parametrize(
    ("turns", "consumer_s", "ends"),
    [
        (SECOND_BY_SECOND, 0.0, [RESTORE]),
        ((2 * LIMIT_S, 1.0, 1.0), 2 * LIMIT_S, []),
        ((2 * LIMIT_S, *SECOND_BY_SECOND), 0.0, [RESTORE]),
    ],
    ids=["hangs", "pause", "pause, then hangs"],
)
def test_a_pause_of_the_whole_process_is_no_silence(
    rig: Rig,
    halt: Halt,
    monkeypatch: pytest.MonkeyPatch,
    turns: tuple[float, ...],
    consumer_s: float,
    ends: list[str],
) -> None:
    """Stopped and continued, or a machine that slept: no stage could show life, and the
    photo on the device is fine.
    """
    ended: list[str] = []
    monkeypatch.setattr("os._exit", lambda _: ended.append(rig.noticed()))
    rig.replace(RESTORE, halt)
    rig.start(RESTORE)
    assert halt.entered.wait(60)
    watchdog = rig.pipeline.watchdog(lambda: consumer_s)
    closing: Any = Closing(rig.clock, *turns)
    watchdog.run(closing)
    assert ended[:1] == ends
    assert not rig.pipeline.shutdown.is_fault


@pytest.mark.usefixtures("halt")
def test_a_consumer_that_hangs_drains_the_worker(rig: Rig) -> None:
    """And the exit status says that something was wrong."""
    watchdog = rig.pipeline.watchdog(lambda: 2 * LIMIT_S)
    closing: Any = Closing(rig.clock, *SECOND_BY_SECOND)
    watchdog.run(closing)
    assert rig.pipeline.shutdown.requested.is_set()
    assert rig.pipeline.shutdown.is_fault


@pytest.mark.usefixtures("halt")
def test_a_lost_device_costs_the_photo_on_it_an_attempt_and_no_other(rig: Rig) -> None:
    """The device is tried once. The other photo stays in flight, and is released."""
    tried: list[Job] = []

    def lose(job: Job) -> None:
        tried.append(job)
        raise DeviceLost("CUDA error: an illegal memory access was encountered")

    pipeline = rig.pipeline
    rig.replace(RESTORE, lose)
    rig.start(RESTORE)
    eventually(pipeline.shutdown.requested.is_set, "the worker's wish to leave")
    later = rig.job()
    pipeline.in_flight.add(later)
    pipeline.loops.to_restore.put(later)
    pipeline.loops.to_restore.put(None)
    rig.threads[0].join(60)
    assert len(tried) == 1
    assert pipeline.in_flight.jobs() == [later]
    assert pipeline.shutdown.is_fault
