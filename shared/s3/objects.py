"""What the store says of an object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class ObjectInfo:
    """What the store says of an object. `served_at` is the store's own clock at the
    time of the answer.
    """

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
        """Whether it only says that the key was deleted, in a bucket with versions."""
        return not self.etag

    @property
    def age_s(self) -> float:
        """By the store's own clock, whatever ours says."""
        return (
            (self.served_at or self.last_modified) - self.last_modified
        ).total_seconds()
