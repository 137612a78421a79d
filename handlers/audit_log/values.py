"""What the audit log is given and what it answers: plain values, so that their users
need no database driver.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from shared.uploads.messages import Status
from shared.uploads.ref import UploadRef


class Ending(NamedTuple):
    """An end that the bucket knows, to be compared with the row of the upload.

    `at_least` is the lowest status that the row must have, by rank. `retries` counts the
    fresh starts before the end. After an erasure (`erased`) only an erased row will do.
    """

    upload_id: str
    upload_time: datetime
    at_least: Status = "rejected"
    retries: int = 0
    erased: bool = False


class Pace(NamedTuple):
    """How long the last photos of one workflow took, by their medians."""

    photos: int
    seconds: float
    seconds_per_pixel: float


@dataclass(frozen=True)
class Written:
    """What became of the events of one call. `repeated` ones were in the log before."""

    added: int = 0
    repeated: int = 0
    rejected: int = 0

    def __add__(self, other: Written) -> Written:
        return Written(
            self.added + other.added,
            self.repeated + other.repeated,
            self.rejected + other.rejected,
        )


@dataclass(frozen=True)
class Filter:
    """Which uploads a page shows; `after` is the key of the last one of the page
    before.
    """

    user_id: str | None = None
    status: str | None = None
    task_id: str | None = None
    workflow: str | None = None
    ingest: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: UploadRef | None = None
