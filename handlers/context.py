"""What a trigger gets beside its event: built once, where a process begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from shared import workflows
from shared.broker.publisher import Publisher as BrokerPublisher
from shared.errors import SettingsError
from shared.offers import Offers
from shared.runtime.settings import Settings
from shared.s3.clock import Clock
from shared.s3.store import ObjectStore, S3Store
from shared.uploads.store import UploadStore


class Publisher(Protocol):
    """The broker's side that writes. Both raise `BrokerUnavailable` within
    `publish_timeout_s`.
    """

    def publish(
        self, queue: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None: ...

    def publish_many(
        self,
        queue: str,
        bodies: Iterable[bytes],
        headers: Mapping[str, str] | None = None,
    ) -> None: ...


@dataclass(frozen=True)
class Context:
    settings: Settings
    store: ObjectStore
    publisher: Publisher
    clock: Clock
    offers: Offers = field(init=False, compare=False)
    """What the workers can do."""

    def __post_init__(self) -> None:
        # it is frozen
        object.__setattr__(self, "offers", Offers(self.store, self.settings))

    @property
    def uploads(self) -> UploadStore:
        """What is known of uploads."""
        return UploadStore(self.store, self.settings)

    @classmethod
    def of(cls, settings: Settings) -> Context:
        """On the real services, with the workflows that lie there. Raises `SettingsError` where users would be stored
        without a secret, and for usual parameters that no workflow has.
        """
        if not settings.pepper.get_secret_value():
            detail = "DARKROOM_PEPPER is empty: set a long random secret and keep it, users are found again only by it"
            raise SettingsError(detail)
        store = S3Store(settings)
        workflows.use(workflows.Shelf(store, settings.bucket_results))
        workflows.check_usual(settings.usual_params)
        return cls(settings, store, BrokerPublisher(settings), store.clock)
