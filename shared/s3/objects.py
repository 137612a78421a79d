"""What the object store says about an object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class ObjectInfo:
    """An object's attributes. `served_at` is the store's time when it answered."""

    bucket: str
    key: str
    etag: str
    bytes: int
    last_modified: datetime
    version: str | None = None
    content_type: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    served_at: datetime | None = None

    @property
    def is_marker(self) -> bool:
        """Whether this is a delete marker of a bucket with versions."""
        return not self.etag

    @property
    def age_s(self) -> float:
        """Seconds since it was written, by the store's clock; 0 where that is unknown."""
        if self.served_at is None:
            return 0.0
        return (self.served_at - self.last_modified).total_seconds()
