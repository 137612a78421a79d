"""A worker's stages in memory, and one photo that waits for them."""

from __future__ import annotations

from typing import Any, cast

from gpu_worker.pipeline.begin import Begin, Later
from gpu_worker.pipeline.context import Context
from gpu_worker.pipeline.job import Job
from gpu_worker.pipeline.lease_renewal import LeaseRenewer
from gpu_worker.pipeline.outcome import Outcomes
from gpu_worker.pipeline.prepare import Prepare
from gpu_worker.pipeline.store_result import StoreResult
from handlers.http.api import cancel_and_erase
from handlers.intake.decision import Decision
from shared.broker import topology
from shared.broker.consumer import Delivery
from shared.errors import PermanentError
from shared.s3.store import ObjectStore
from shared.uploads import claims
from shared.uploads.claims import Claims
from tests.support.upload_world import World, photo


class FakeDelivery:
    """Keeps how it was settled: `acked` counts, `code` is that of a dead letter."""

    queue = topology.BULK
    redelivered = False

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.acked = 0
        self.code = ""

    def ack(self) -> None:
        self.acked += 1

    def dead(self, code: str, _detail: str) -> None:
        self.code = code


class WorkerRig:
    """`receipt`, `decision` and `delivery` are those of the photo that waits: in a world
    of its own one is uploaded, in a given one the test says which. `store` takes the
    place of the world's in the worker.
    """

    def __init__(
        self,
        world: World | None = None,
        store: ObjectStore | None = None,
        decoder: object = None,
    ) -> None:
        self.world = world or World()
        settings = self.world.ctx.settings
        store = store or self.world.store
        publisher: Any = self.world.publisher
        self.ctx = Context(
            settings,
            store,
            publisher,
            Claims(store, settings, "w"),
            self.world.clock,
        )
        self.outcomes = Outcomes(self.ctx)
        self.prepare = Prepare(self.ctx, cast(Any, decoder))
        self.store_result = StoreResult(self.ctx, self.outcomes, None)
        self.renewer = LeaseRenewer(self.ctx)
        self._begin = Begin(self.ctx, self.outcomes, lambda _: True)
        if world is None:
            self.upload("a.png", photo())

    def upload(self, key: str, data: bytes) -> None:
        """An upload that becomes the photo that waits."""
        self.wait_with(self.world.upload(key, data))

    def wait_with(self, decision: Decision) -> None:
        """The photo of this decision waits, with the newest message."""
        self.decision = decision
        self.receipt = self.world.receipt(decision)
        task = self.world.tasks()[-1]
        self.delivery = FakeDelivery(task.encode())

    @property
    def task_id(self) -> str:
        assert self.receipt.task_id
        return self.receipt.task_id

    @property
    def given_delivery(self) -> Delivery:
        """The delivery as the worker's code takes it."""
        return cast(Delivery, self.delivery)

    @property
    def settled(self) -> tuple[int, str]:
        """How often the delivery was acknowledged, and the code of its dead letter."""
        return self.delivery.acked, self.delivery.code

    def begin(self) -> Job:
        job = self.try_to_begin()
        assert isinstance(job, Job)
        return job

    def try_to_begin(self) -> Job | Later | None:
        return self._begin(self.given_delivery)

    def fail(self, job: Job, error: PermanentError) -> None:
        self.outcomes.attempt_failed(job, error)

    def cancel(self) -> None:
        cancel_and_erase.cancel(self.world.ctx, self.task_id, [self.receipt])

    def erase(self) -> None:
        cancel_and_erase.erase(self.world.ctx, self.task_id, [self.receipt])

    def error_code(self) -> str:
        """Of the reason for the photo's end."""
        return self.world.reason(self.decision).error_code

    def progress(self) -> float | None:
        """As the newest claim says; None without a claim."""
        claim = claims.latest(self.world.store, "results", self.task_id)
        return claim.note.progress if claim else None
