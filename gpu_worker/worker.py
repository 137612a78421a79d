"""The worker process: three stages in three threads, so that the device never waits for
the network.

    consumer ─▶ inbox ─▶ [prepare] ─1─▶ [restore] ─1─▶ [finish] ─▶ settled
                          photo n+1      photo n        photo n−1

Between two stages at most one photo waits, so memory is bounded by about four photos
whatever the queue holds, and by `max_pixels_in_hand` where these are big. A fourth
thread keeps the claims alive and watches for a stuck stage or a lost broker.
"""

from __future__ import annotations

import os
import queue
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import cast

from gpu_worker import abilities, codec, engines, models
from gpu_worker.pipeline import metrics
from gpu_worker.pipeline.announcer import Announcer
from gpu_worker.pipeline.context import Context
from gpu_worker.pipeline.in_flight import Hand
from gpu_worker.pipeline.inbox import Inbox
from gpu_worker.pipeline.job import Job
from gpu_worker.pipeline.lease_renewal import EVERY_S, Upkeep
from gpu_worker.pipeline.outcome import Outcomes
from gpu_worker.pipeline.prepare import Later, Prepare
from gpu_worker.pipeline.retrying import Patient
from gpu_worker.pipeline.store_result import Finish
from gpu_worker.restore import restore
from shared.broker import topology
from shared.broker.consumer import Consumer, Delivery
from shared.broker.publisher import Publisher
from shared.errors import (
    BrokerUnavailable,
    Code,
    ObjectRefused,
    PermanentError,
    StorageUnavailable,
    TransientError,
)
from shared.runtime import operations
from shared.runtime.failpoints import passing
from shared.runtime.heartbeat import QUIET_S, Heartbeat, Pulse, give, own
from shared.runtime.settings import Settings
from shared.runtime.telemetry import logger
from shared.s3.store import ObjectStore, S3Store
from shared.uploads.claims import RENEWALS_PER_LEASE, Claims

PREFETCH = 3
"""One photo a stage. More would only be held back from other workers."""

DISK_WAIT_S = 15.0
REFUSED_S = 5.0
PAUSE_S = 10.0
"""A second's wait that takes longer means that the process was stopped, or the machine
slept.
"""
HAND_BACK_S = 5.0
BESIDE_NICE = 5
SWITCH_S = 0.0005
"""Inference returns to Python after every layer; at Python's own 5 ms it would wait
that long for another stage.
"""
EXIT_STUCK = 70
STAGES = ("prepare", "restore", "finish")


class Worker:
    """Runs until `stop` is set, then drains: the photos in hand are finished within
    `drain_s` or handed back.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stop = threading.Event()
        # set when waiting for a service that is down must end, too
        self._leave = threading.Event()
        name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        plain = S3Store(settings)
        clock, store = plain.clock, cast(ObjectStore, Patient(plain, self._leave))
        # Whatever the stages wait for, the claims are renewed.
        beside = cast(ObjectStore, Patient(plain, self._leave))
        publisher = cast(Publisher, Patient(Publisher(settings), self._leave))
        self._ctx = Context(
            settings, store, publisher, Claims(store, settings, name), clock
        )
        self._outcomes = Outcomes(self._ctx)
        self._hand = Hand(settings.max_pixels_in_hand)
        self._engine = engines.select(settings)
        self._prepare = Prepare(
            self._ctx,
            self._outcomes,
            lambda new: self._hand.wait_for_room(new, self.stop),
            lambda workflow: abilities.check(workflow, self._engine, settings),
        )
        self._upkeep = Upkeep(
            replace(self._ctx, store=beside, claims=Claims(beside, settings, name))
        )
        self._finish = Finish(self._ctx, self._outcomes, self._prepare.decoder)
        self._announcer = Announcer(
            plain, settings, clock, lambda: abilities.survey(self._engine, settings)
        )
        self._inbox = Inbox(clock)
        prefetch = dict.fromkeys(topology.RESTORE, PREFETCH)
        self._consumer = Consumer(
            settings, prefetch, self._inbox.put, is_alive=lambda: not self._stuck()
        )
        self._ready_to_restore: queue.Queue[Job | None] = queue.Queue(1)
        self._ready_to_store: queue.Queue[Job | None] = queue.Queue(1)
        self._ahead = threading.Semaphore(1)
        self._lost = False
        self._busy_with: dict[str, Job] = {}  # by stage
        # at rest without a photo, or when it waits
        self._pulses = {stage: Pulse(clock.monotonic) for stage in STAGES}
        parts = {stage: pulse.quiet_s for stage, pulse in self._pulses.items()}
        patience_s = dict.fromkeys(STAGES, settings.stall_s)
        self._heartbeat = Heartbeat(
            settings, {"consumer": self._consumer.stuck_s, **parts}, patience_s
        )
        metrics.IN_HAND.set_function(lambda: len(self._hand.jobs()))

    def run(self) -> int:
        """Blocks until the worker has drained; the exit status. Raises `PermanentError`
        when weights are wrong.
        """
        models.verify_installed(self.settings)
        codec.check_label(self.settings)
        self._announcer.look()  # before the first photo
        closing = threading.Event()
        threads = [
            self._start("consumer", lambda: self._consumer.run(closing)),
            self._start("prepare", self._preparing),
            self._start("restore", self._restoring),
            self._start("finish", self._finishing),
            self._start("watch", lambda: self._watching(closing)),
            self._start("announce", lambda: self._announcer.run(closing)),
        ]
        operations.start(
            self.settings,
            self._heartbeat,
            metrics.REGISTRY,
            lambda: {
                "broker": self._consumer.silent_s() < operations.FRESH_S,
            },
        )
        logger().info(
            "process.started", engine=self._engine.name, device=self._engine.device
        )
        self.stop.wait()
        self._drain(threads[1:4])
        closing.set()
        threads[0].join(5)
        logger().info("process.stopped", handed_back=len(self._hand.jobs()))
        return EXIT_STUCK if self._lost else 0

    def _start(self, name: str, target: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            give(self._pulses.get(name, Pulse()))
            if name != "restore":
                # Inference has the cores first; on Linux each thread has a niceness of
                # its own.
                with suppress(OSError):
                    os.setpriority(
                        os.PRIO_PROCESS, threading.get_native_id(), BESIDE_NICE
                    )
            try:
                target()
            except Exception:
                # A worker with a thread missing would hold its photos for ever: better
                # none than half of one.
                logger().critical("process.stuck", thread=name, exc_info=True)
                os._exit(EXIT_STUCK)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread

    def _drain(self, stages: list[threading.Thread]) -> None:
        deadline_s = self._ctx.clock.monotonic() + self.settings.drain_s
        for stage in stages:
            stage.join(max(0.0, deadline_s - self._ctx.clock.monotonic()))
        self._leave.set()
        # A store that takes the call and never answers must not hold up the end: then
        # the claims run out by themselves.
        self._start("hand back", self._handing_back).join(HAND_BACK_S)

    def _handing_back(self, but: Job | None = None) -> None:
        with suppress(StorageUnavailable):
            for job in self._hand.jobs():
                if job is not but:
                    # that claim runs out by itself
                    with suppress(PermanentError, ObjectRefused):
                        self._outcomes.hand_back(job)

    def _preparing(self) -> None:
        while not self.stop.is_set():
            # One photo waits for the device, not two: whose turn it is next is decided
            # as late as possible.
            if self._ahead.acquire(timeout=0.2) and not self._prepare_one():
                self._ahead.release()
        self._ready_to_restore.put(None)

    def _prepare_one(self) -> bool:
        delivery = self._inbox.next(timeout_s=0.2)
        job = None if delivery is None else self._begin(delivery)
        if job is None or not self._try(job, "prepare", self._prepare.load):
            return False
        self._ready_to_restore.put(job)
        return True

    def _begin(self, delivery: Delivery) -> Job | None:
        try:
            with own().working():
                begun = self._prepare.begin(delivery)
        except ObjectRefused as error:
            # The sweep calls for it again, once the store gives or takes what was
            # refused; nobody waits here for that.
            logger().error(
                "worker.failed_to_begin", code=error.code, detail=error.detail
            )
            delivery.ack()
            begun = None
        except Exception:
            # Nothing of the photo was touched yet: the fault is around it, and the
            # delivery is looked at again.
            logger().exception("worker.failed_to_begin")
            begun = Later(5.0)
        if isinstance(begun, Later):
            self._inbox.park(delivery, begun.seconds)
            return None
        if begun is not None:
            self._hand.take(begun)
        return begun

    def _restoring(self) -> None:
        works = True
        for job in iter(self._ready_to_restore.get, None):
            self._ahead.release()
            try:
                if works and self._try(job, "restore", self._infer):
                    self._ready_to_store.put(job)
            except engines.DeviceLost:
                # Every photo would fail: a fresh process takes them up. This one's
                # attempt counts: its claim runs out.
                logger().critical("process.stuck", thread="restore", exc_info=True)
                self._hand.put_down(job)
                works = False
                self._leave_lost()
        self._ready_to_store.put(None)

    def _infer(self, job: Job) -> None:
        assert job.photo is not None
        assert job.workflow is not None
        self._progress(job, 0.0)
        logger().info(
            "task.begun",
            task_id=job.task.task_id,
            upload_id=job.task.upload_id,
            pid=os.getpid(),
            attempt=job.claim.attempt,
            claimed_at=job.started_at.isoformat(),
        )
        progress = partial(self._progress, job)
        job.restored = restore(
            job.photo, job.workflow, self._engine, self.settings, progress
        )
        job.steps += job.restored.steps
        job.photo = None  # the input's memory is needed for the next photo
        passing("worker.after_inference")

    def _finishing(self) -> None:
        for job in iter(self._ready_to_store.get, None):
            if self._try(job, "finish", self._finish):
                self._hand.put_down(job)

    def _try(self, job: Job, name: str, stage: Callable[[Job], None]) -> bool:
        """Run one stage, whose silence will be noticed. False: the job ended here, with
        its outcome told.
        """
        self._busy_with[name] = job
        try:
            with own().working():
                return self._tried(job, name, stage)
        finally:
            del self._busy_with[name]

    def _tried(self, job: Job, name: str, stage: Callable[[Job], None]) -> bool:
        began_s = self._ctx.clock.monotonic()
        try:
            stage(job)
            took_s = self._ctx.clock.monotonic() - began_s
            job.busy_s += took_s
            metrics.SECONDS.labels(stage=name).observe(took_s)
        except engines.DeviceLost:
            raise
        except Exception as error:
            # An outage is raised only while leaving: the job stays in hand and is
            # handed back.
            if not _is_outage(error) and self._ended(job, error):
                self._hand.put_down(job)
            return False
        return True

    def _ended(self, job: Job, error: Exception) -> bool:
        """Write down how the job ended. False: only while leaving, as above."""
        try:
            self._broken(job, error)
        except Exception as fault:
            if _is_outage(fault):
                return False
            # The store refuses to be told. The attempt counts, as its claim runs out;
            # the message waits for that.
            logger().exception(
                "task.endless", task_id=job.task.task_id, upload_id=job.task.upload_id
            )
            job.end()
            self._inbox.park(job.delivery, REFUSED_S)
        return True

    def _broken(self, job: Job, error: Exception) -> None:
        if not isinstance(error, TransientError) or error.code != Code.DISK_FULL:
            self._outcomes.broken(job, error)
            return
        # The photo can do nothing for it, and what needs no room goes on: it waits
        # here, and takes up its place.
        self._outcomes.hand_back(job)
        self._inbox.park(job.delivery, DISK_WAIT_S)
        logger().error(
            "task.deferred",
            task_id=job.task.task_id,
            detail=error.detail,
            delay_s=DISK_WAIT_S,
        )

    def _watching(self, closing: threading.Event) -> None:
        """Renew the claims of all photos in hand; end the process when it no longer
        works.
        """
        now_s = self._ctx.clock.monotonic
        awake_since_s = now_s()
        while True:
            waits_since_s = now_s()
            if closing.wait(min(EVERY_S, self.settings.lease_s / RENEWALS_PER_LEASE)):
                return
            if now_s() - waits_since_s > PAUSE_S:
                awake_since_s = now_s()
            self._judge(now_s() - awake_since_s)
            self._upkeep.look_after(self._hand.jobs())

    def _judge(self, awake_s: float) -> None:
        """Nothing shows life while the whole process stands still, so all have their
        time again after that.
        """
        if awake_s > self.settings.stall_s and (stage := self._stuck()):
            logger().critical(
                "process.stuck", thread=stage, seconds=self.settings.stall_s
            )
            # The photo that hangs may be to blame: its attempt counts, as its claim
            # runs out. Those beside it have none less. The messages run out, and the
            # supervisor starts a fresh process.
            back = partial(self._handing_back, but=self._busy_with.get(stage))
            self._start("hand back", back).join(HAND_BACK_S)
            os._exit(EXIT_STUCK)
        if awake_s > QUIET_S and self._consumer.stuck_s() > QUIET_S and not self._lost:
            logger().critical("process.stuck", thread="consumer", seconds=QUIET_S)
            self._leave_lost()

    def _leave_lost(self) -> None:
        """Drain, so that no photo loses an attempt by it, and say that it was no
        request.
        """
        self._lost = True
        self.stop.set()

    def _progress(self, job: Job, done: float) -> None:
        self._pulses["restore"].beat()  # from whichever thread
        job.progress = done
        if job.withdrawn:
            raise PermanentError(Code.CANCELLED, "its owner took it back")

    def _stuck(self) -> str:
        """The stage that hangs, if one does."""
        return next(
            (
                stage
                for stage, pulse in self._pulses.items()
                if pulse.quiet_s() > self.settings.stall_s
            ),
            "",
        )


def _is_outage(error: Exception) -> bool:
    return isinstance(error, StorageUnavailable | BrokerUnavailable) and not isinstance(
        error, ObjectRefused
    )


def main(settings: Settings) -> int:
    """Entry point of the process; SIGTERM and SIGINT drain it."""
    sys.setswitchinterval(SWITCH_S)
    worker = Worker(settings)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: worker.stop.set())
    return worker.run()
