"""The whole pipeline: from deliveries in the inbox to settled photos."""

from __future__ import annotations

import os
import secrets
import socket
import threading

from gpu_worker import abilities, codec
from gpu_worker.engines import Engine
from gpu_worker.pipeline import pyramids, threads
from gpu_worker.pipeline.begin import Begin, Later
from gpu_worker.pipeline.context import Context
from gpu_worker.pipeline.drafts import Drafts
from gpu_worker.pipeline.drain import Drain, Shutdown
from gpu_worker.pipeline.in_flight import InFlight
from gpu_worker.pipeline.inbox import Inbox
from gpu_worker.pipeline.lanes import Lanes
from gpu_worker.pipeline.lease_renewal import LeaseRenewer
from gpu_worker.pipeline.outcome import Outcomes
from gpu_worker.pipeline.passing import Passing
from gpu_worker.pipeline.prepare import Prepare
from gpu_worker.pipeline.pyramids import Pyramids
from gpu_worker.pipeline.restore import Restore
from gpu_worker.pipeline.retrying import Publisher, RetryingPublisher, RetryingStore
from gpu_worker.pipeline.stage_loops import StageLoops
from gpu_worker.pipeline.stage_runner import StageRunner
from gpu_worker.pipeline.stages import PYRAMIDS, RESTORE, STAGES, Stages
from gpu_worker.pipeline.store_result import StoreResult
from gpu_worker.pipeline.watchdog import StagePulses, Watchdog
from shared.broker.consumer import Delivery
from shared.runtime.heartbeat import Quiet
from shared.runtime.settings import Settings
from shared.s3.clock import Clock
from shared.s3.store import ObjectStore
from shared.uploads.claims import Claims
from shared.uploads.documents import Receipt

BEHIND_A_BIG_ONE_S = 1.0
"""How soon a photo that has no room beside a big one is looked at again."""


class Pipeline:
    """Builds the stages and what surrounds them. `store` and `publisher` are used
    through circuits that wait while a service is away.
    """

    def __init__(
        self,
        settings: Settings,
        store: ObjectStore,
        publisher: Publisher,
        clock: Clock,
        engine: Engine,
    ) -> None:
        self.shutdown = Shutdown()
        self.inbox = Inbox(clock)
        self.lanes = Lanes.of(settings, engine.device)
        self.in_flight = InFlight(settings.max_pixels_in_hand)
        self.pulses = StagePulses(clock, settings.stall_s, self.lanes)
        worker = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        retrying_publisher = RetryingPublisher(publisher, self.shutdown.forced)

        def context() -> Context:
            retrying_store = RetryingStore(store, self.shutdown.forced)
            claims = Claims(retrying_store, settings, worker)
            return Context(settings, retrying_store, retrying_publisher, claims, clock)

        self._drafts = Drafts(store, settings, clock)
        self.ctx = context()
        self.outcomes = Outcomes(self.ctx)
        self._decoder = codec.Decoders(
            lambda: codec.Decoder(settings), self.lanes.prepare
        )
        self.pyramids = Pyramids(self.ctx, self._decoder, self.shutdown.requested)
        self.stages = self._stages(engine)
        self.runner = StageRunner(self.ctx, self.outcomes, self.in_flight, self.inbox)
        self.loops = StageLoops(
            self.stages,
            self.runner,
            self.inbox,
            self.in_flight,
            self.shutdown,
            self.lanes,
        )
        self._passing = Passing(
            self.loops.to_restore,
            self.loops.restore_next,
            self.pulses.by_lane[RESTORE],
            clock,
        )
        self._drain = Drain(self.ctx, self.outcomes, self.in_flight, self.shutdown)
        # With circuits of its own: whatever the stages wait for, leases are renewed.
        self._renewer = LeaseRenewer(context())

    def start(self, *names: str) -> list[threading.Thread]:
        """Start the loops of these stages, or of all, and the pyramids' beside them."""
        if names:
            return self.loops.start(self.pulses, *names)
        pulse = self.pulses.by_lane[PYRAMIDS]
        beside = threads.start(PYRAMIDS, self.pyramids.run, pulse)
        return [*self.loops.start(self.pulses, *STAGES), beside]

    def take(self, delivery: Delivery) -> None:
        """Hand a delivery to those who wait for its kind of work."""
        if pyramids.is_wanted(delivery):
            self.pyramids.put(delivery)
        else:
            self.inbox.put(delivery)

    def drain(self, threads: list[threading.Thread]) -> None:
        """End these loops: photos in flight are finished within `drain_s`, or released
        to other workers.
        """
        self._drain.finish(threads)

    def watchdog(self, consumer_quiet_s: Quiet) -> Watchdog:
        """What renews the leases of the photos in flight, and ends the process when a
        stage or the consumer hangs.
        """
        return Watchdog(
            self.ctx,
            self.shutdown,
            self.pulses,
            consumer_quiet_s,
            renew_leases=lambda: self._renewer.renew(self.in_flight.jobs()),
            release_others=lambda lane: self._drain.release(self.runner.job_in(lane)),
            job_in=self.runner.job_in,
        )

    def _wait_for_room(self, receipt: Receipt) -> bool | Later:
        # Who waits for room lets nobody pass, so nobody waits while a big photo is on
        # its way.
        if self.in_flight.is_behind_a_big_one(receipt):
            return Later(BEHIND_A_BIG_ONE_S)
        return self.in_flight.wait_for_room(receipt, self.shutdown.requested)

    def _stages(self, engine: Engine) -> Stages:
        settings = self.ctx.settings
        decoder = self._decoder
        begin = Begin(self.ctx, self.outcomes, self._wait_for_room)
        prepare = Prepare(
            self.ctx,
            decoder,
            lambda workflow: abilities.check(workflow, engine, settings),
        )
        restore = Restore(
            engine,
            settings,
            self.pulses.by_lane[RESTORE],
            let_pass=lambda job: self._passing(job),
            in_hand=lambda: len(self.in_flight.jobs()),
            drafts=self._drafts.of,
        )
        store_result = StoreResult(self.ctx, self.outcomes, decoder)
        return Stages(begin, prepare, restore, store_result)
