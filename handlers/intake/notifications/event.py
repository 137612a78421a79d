"""What every provider's notification becomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from shared.uploads.ref import version_of

Kind = Literal["create", "overwrite", "copy", "rename"]


@dataclass(frozen=True)
class UploadEvent:
    """An object is (or was, when the event was made) at `bucket`/`key`; all else is the
    sender's word, if it said it.

    `sequencer` orders events of one key, where the provider has such a thing:
    hexadecimal, compared at equal length.
    """

    bucket: str
    key: str
    kind: Kind
    version: str | None = None
    etag: str | None = None
    size: int | None = None
    sequencer: str | None = None
    event_time: datetime | None = None


Reader = Callable[[Any, int], Iterator[UploadEvent]]
"""Reads a document of any known shape at a depth of wrapping; given to those shapes
that wrap another.
"""


class Shape(BaseModel):
    """Base of the providers' documents: what we need of them; what else they hold is
    of no interest.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)


Absent = Annotated[str | None, BeforeValidator(version_of)]
"""Text that some providers leave out and others leave empty (a version id may also be
the word `null`).
"""


def unquoted(etag: str | None) -> str | None:
    return etag.strip('"') if etag else None
