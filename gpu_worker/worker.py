"""The worker process: what its parts are, and how they are started and ended.

    consumer ─▶ inbox ─▶ stages (`gpu_worker.pipeline.stage_loops`) ─▶ settled

Beside the stages, one thread renews leases and watches for a stage that hangs, and one
announces what this worker can do.
"""

from __future__ import annotations

import sys
import threading

from gpu_worker import abilities, codec, device, engines, models
from gpu_worker.engines import Engine
from gpu_worker.pipeline import metrics, threads
from gpu_worker.pipeline.announcer import Announcer
from gpu_worker.pipeline.device_metrics import DeviceLoad
from gpu_worker.pipeline.idle import WhenIdle
from gpu_worker.pipeline.pipeline import Pipeline
from shared import workflows
from shared.broker import topology
from shared.broker.consumer import Consumer
from shared.broker.publisher import Publisher
from shared.runtime import operations
from shared.runtime.devices import Device
from shared.runtime.heartbeat import Heartbeat
from shared.runtime.metrics import REGISTRY, DiskSpace
from shared.runtime.settings import Settings
from shared.runtime.signals import on_termination
from shared.runtime.telemetry import logger
from shared.s3.store import S3Store

SWITCH_S = 0.0005
"""Inference returns to Python after every layer; at Python's own 5 ms it would wait
that long for another stage.
"""
CONSUMER_END_S = 5.0


class Worker:
    """Runs until a shutdown is requested, then drains. `engine`: by default the one
    that the settings name.
    """

    def __init__(self, settings: Settings, engine: Engine | None = None) -> None:
        self._settings = settings
        store = S3Store(settings)
        self._engine = engine or engines.select(settings)
        self.pipeline = Pipeline(
            settings, store, Publisher(settings), store.clock, self._engine
        )
        # Through the pipeline's circuit: a store that is away costs no attempt.
        shelf = workflows.Shelf(self.pipeline.ctx.store, settings.bucket_results)
        workflows.use(shelf)
        pulses = self.pipeline.pulses
        self._consumer = Consumer(
            settings,
            # More would only be held back from other workers.
            dict.fromkeys(topology.RESTORE, self.pipeline.lanes.most_photos),
            self.pipeline.take,
            is_alive=lambda: not pulses.stuck(),
        )
        self._watchdog = self.pipeline.watchdog(self._consumer.stuck_s)
        self.heartbeat = Heartbeat(
            settings,
            {"consumer": self._consumer.stuck_s, **pulses.parts()},
            pulses.limits_s(),
        )
        self._announcer = Announcer(
            store,
            settings,
            store.clock,
            lambda: abilities.survey(self._engine, settings),
        )
        self._unload = WhenIdle(
            settings.idle_unload_s,
            store.clock,
            lambda: bool(self.pipeline.in_flight.jobs()),
            engines.unload,
        )
        self._leave = WhenIdle(
            settings.idle_leave_s, store.clock, self._has_any, self._leave_idle
        )
        metrics.IN_HAND.set_function(lambda: len(self.pipeline.in_flight.jobs()))

    def run(self) -> int:
        """Block until the worker has drained; the exit status. Raises `PermanentError`
        when weights are wrong.
        """
        models.verify_installed(self._settings)
        codec.check_label(self._settings)
        self._announcer.look()  # before the first photo
        closing = threading.Event()
        consumer = threads.start("consumer", lambda: self._consumer.run(closing))
        stages = self.pipeline.start()
        threads.start("watch", lambda: self._watchdog.run(closing))
        threads.start("idle", lambda: self._unload.run(closing))
        threads.start("leave", lambda: self._leave.run(closing))
        threads.start("announce", lambda: self._announcer.run(closing))
        operations.start(self._settings, self.heartbeat, REGISTRY, self._services)
        logger().info(
            "process.started", engine=self._engine.name, device=self._engine.device
        )
        shutdown = self.pipeline.shutdown
        shutdown.requested.wait()
        self.pipeline.drain(stages)
        closing.set()
        consumer.join(CONSUMER_END_S)
        logger().info(
            "process.stopped", handed_back=len(self.pipeline.in_flight.jobs())
        )
        return threads.EXIT_STUCK if shutdown.is_fault else 0

    def expose(self, own: Device | None) -> None:
        """Have the metrics say what this worker computes on; `own` is its GPU."""
        about = {
            "engine": self._engine.name,
            "device": self._engine.device,
            "uuid": own.uuid if own else "",
        }
        metrics.ABOUT.info(about)
        REGISTRY.register(DiskSpace({"scratch": self._settings.scratch_dir}))
        if own is not None:
            REGISTRY.register(DeviceLoad(own))

    def stop(self) -> None:
        """Request the end of `run`."""
        self.pipeline.shutdown.request()

    def _has_any(self) -> bool:
        """Whether a photo is in hand, or waits in this process to be."""
        has_photos = bool(self.pipeline.in_flight.jobs())
        return (
            has_photos
            or self.pipeline.inbox.waits()
            or self.pipeline.pyramids.has_work()
        )

    def _leave_idle(self) -> None:
        logger().info("worker.idle", idle_s=self._settings.idle_leave_s)
        self.stop()

    def _services(self) -> dict[str, bool]:
        return {"broker": self._consumer.silent_s() < operations.FRESH_S}


def main(settings: Settings, engine: Engine | None = None) -> int:
    """Entry point of the process; SIGTERM and SIGINT drain it."""
    own = device.take(settings) if engine is None else None
    sys.setswitchinterval(SWITCH_S)
    worker = Worker(settings, engine)
    worker.expose(own)
    on_termination(worker.stop)
    return worker.run()
