"""The columns of `darkroom.restoration_log`, with their types: what an event may fill,
and what the API shows.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.uploads.messages import LogEvent, Status

Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]  # PostgreSQL has no NUL in text
Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Int32 = Annotated[int, Field(ge=0, lt=2**31)]
Int64 = Annotated[int, Field(ge=0, lt=2**63)]
Number = Annotated[float, Field(allow_inf_nan=False)]

_USUAL_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Columns(BaseModel):
    """The columns that the `fields` of an event may fill. All are optional, because an
    event holds only what its writer knows.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    user_id: Text | None = Field(
        None, description="Pseudonym of the user: HMAC-SHA256, 64 hex digits."
    )
    image_filename: Text | None = Field(
        None, description="Last part of the upload's key."
    )
    workflow_type: Text | None = None
    workflow_version: Int32 | None = None
    model_size: Int32 | None = Field(
        None, description="Side of the colour network's input [px]."
    )
    params: dict[str, Any] | None = Field(
        None, description="Every parameter of the resolved workflow."
    )
    scale: Number | None = Field(
        None,
        description="Sides of the result by those of the upload, where a parameter says it.",
    )
    signature: Text | None = Field(
        None, description="16 hex digits that name workflow, parameters and models."
    )
    error_code: Text | None = None
    error_detail: Text | None = None
    result_url: Text | None = Field(
        None, description="Where the result lies: `s3://bucket/key`."
    )
    duration_seconds: Number | None = Field(
        None,
        description="Time that a worker spent on it: the last attempt, whether it succeeded or failed.",
    )
    queue_seconds: Number | None = Field(
        None, description="Time that it waited, from the decision of the handler on."
    )
    attempts: Int32 | None = None
    retries: Int32 | None = Field(
        None,
        description="How often a person gave it a fresh start after it had failed.",
    )
    width: Int32 | None = Field(None, description="Of the upload, by its header [px].")
    height: Int32 | None = Field(None, description="Of the upload, by its header [px].")
    bytes: Int64 | None = Field(None, description="Size of the upload.")
    sha256: Hex64 | None = Field(None, description="Of the upload's content.")
    engine: Text | None = None
    device: Text | None = None
    peak_memory_bytes: Int64 | None = Field(
        None, description="Largest resident memory of the worker meanwhile."
    )
    peak_device_memory_bytes: Int64 | None = Field(
        None, description="Most memory in use on a GPU; empty on the CPU."
    )
    tile_px: Int32 | None = Field(
        None,
        description="Longer side of a tile; the smallest that was tried, where memory was short [px].",
    )
    concurrency: Int32 | None = Field(
        None,
        description="Photos that its worker had in hand when this one came to the device.",
    )
    skipped: dict[str, str] | None = Field(
        None, description="Steps that the look at the photo left out, and why."
    )
    ingest_id: UUID | None = Field(
        None, description="The job of an album or archive that the upload is of."
    )


_OWN_RULE = {"error_code", "error_detail", "attempts", "retries"}
KEPT_COLUMNS = [
    "task_id",
    *(name for name in Columns.model_fields if name not in _OWN_RULE),
]
"""Columns that keep their value until a later event gives them another one. The others
have rules of their own in the statement `fold`.
"""


PERSONAL_COLUMNS = ("image_filename", "params", "result_url")
"""Columns that may say something of a person: an erasure takes them away, from the row
and from the events.
"""


class Row(Columns):
    """One row, which is one upload."""

    upload_id: UUID
    upload_time: datetime = Field(
        description="LastModified of the upload, by the store's clock."
    )
    task_id: UUID | None = None
    status: Status
    updated_at: datetime | None = Field(
        None, description="When the audit log last got an event of this upload."
    )


class Event(BaseModel):
    """One event of an upload, as it was written."""

    model_config = ConfigDict(frozen=True)

    event_id: UUID
    upload_id: UUID
    task_id: UUID | None = None
    kind: Status
    at: datetime
    fields: dict[str, Any] = {}


def as_row(event: LogEvent) -> dict[str, Any]:
    """Return the event as a row of `darkroom.restoration_event`."""
    fields = {name: value for name, value in event.fields.items() if value is not None}
    return {
        "event_id": event.event_id,
        "upload_id": event.upload_id,
        "upload_time": _utc(event.upload_time).isoformat(),
        "task_id": event.task_id,
        "kind": event.kind,
        "at": _utc(event.at).isoformat(),
        "fields": fields,
    }


def reject_reason(event: LogEvent) -> str | None:
    """Return what makes an event invalid for the tables, None if nothing does.

    Events are checked one by one before they are written, so that their order cannot
    matter.
    """
    try:
        for ident in (event.event_id, event.upload_id, event.task_id):
            # UUID() alone would take a tenth of the recorder's time.
            if ident and not _USUAL_UUID.fullmatch(ident):
                UUID(ident)
        Columns.model_validate(event.fields)
        _utc(event.upload_time)
        _utc(event.at)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (ValueError, OverflowError) as error:
        return str(error)
    return None


def uuid_of(event: LogEvent) -> str | None:
    """Return the upload's id as it is written, None where it is no UUID."""
    return event.upload_id if _USUAL_UUID.fullmatch(event.upload_id) else None


def month_of(event: LogEvent) -> tuple[int, int]:
    """Return year and month of the upload in UTC, which name its partition."""
    moment = _utc(event.upload_time)
    return moment.year, moment.month


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
