"""What every stage of the worker stands on; built once, by `gpu_worker.worker`."""

from __future__ import annotations

from dataclasses import dataclass

from shared.broker.publisher import Publisher
from shared.claims import Claims
from shared.clock import Clock
from shared.settings import Settings
from shared.storage import ObjectStore


@dataclass(frozen=True)
class Context:
    settings: Settings
    store: ObjectStore
    publisher: Publisher
    claims: Claims
    clock: Clock
