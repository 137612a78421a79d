"""What every stage of the worker stands on; built once, by `gpu_worker.worker`."""

from __future__ import annotations

from dataclasses import dataclass

from shared.broker.publisher import Publisher
from shared.runtime.settings import Settings
from shared.s3.clock import Clock
from shared.s3.store import ObjectStore
from shared.uploads.claims import Claims


@dataclass(frozen=True)
class Context:
    settings: Settings
    store: ObjectStore
    publisher: Publisher
    claims: Claims
    clock: Clock
