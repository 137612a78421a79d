"""The shapes of requests and responses under `/v1/uploads`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from handlers.http.api.responses import Ended
from shared.broker.topology import Priority
from shared.uploads.documents import IngestRef
from shared.uploads.formats import Format
from shared.uploads.ingests import IngestJob
from shared.uploads.messages import Status
from shared.uploads.photo_files import MOST_PAGES
from shared.workflows.composition import MOST_STEPS, ComposedStep

REQUEST_EXAMPLE: JsonDict = {
    "filename": "grandma.jpg",
    "content_type": "image/jpeg",
    "workflow": "fast",
    "params": {"scale": 2},
    "priority": "interactive",
    "bytes": 482113,
}
STATE_EXAMPLE: JsonDict = {
    "ticket": "6aa1b3f2-0c1d-8e4f-9a5b-2c3d4e5f6071",
    "status": "success",
    "task_id": "0b0e7f1c-2f54-5b0e-8f0a-6c1d2e3f4a5b",
}
ERASED_EXAMPLE: JsonDict = {
    "ticket": "6aa1b3f2-0c1d-8e4f-9a5b-2c3d4e5f6071",
    "status": "failed",
    "code": "erased",
}


class UploadRequest(BaseModel):
    """What is to be uploaded, and what to be made of it."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [REQUEST_EXAMPLE]}
    )

    filename: str = Field(
        min_length=1,
        max_length=255,
        description="As the user knows it.",
    )
    content_type: str = Field(
        pattern=r"^(image/[a-z0-9][a-z0-9.+-]{0,60}|application/octet-stream)$"
    )
    workflow: str | None = Field(
        None,
        min_length=1,
        max_length=80,
        description="One of GET /v1/workflows.",
    )
    params: dict[str, Any] = Field(
        {},
        description="By the workflow's `params_schema`; what is left out is default.",
    )
    priority: Priority = "bulk"
    callback: str | None = Field(
        None,
        max_length=1024,
        description="URL that is called at the end; else the key's.",
    )
    formats: list[Format] | None = Field(
        None,
        max_length=6,
        description="Copies beside the result; without it those of DARKROOM_FORMATS.",
    )
    page: int = Field(
        1, ge=1, le=MOST_PAGES, description="Which page of a TIFF is restored."
    )
    bytes: int | None = Field(
        None,
        ge=1,
        description="Size of the file: then no other size is taken by PUT. Without it, the file counts as the largest.",
    )

    ingest: IngestRef | None = Field(
        None,
        description="A job of POST /v1/ingests, and the photo's number in it; what is left out here is the job's.",
    )
    start: bool = Field(
        True,
        description="Whether it is restored once it has come; false: `POST /v1/tasks` starts it.",
    )
    steps: list[ComposedStep] | None = Field(
        None,
        min_length=1,
        max_length=MOST_STEPS,
        description="In place of `workflow` and `params`: the steps themselves, in order. Needs the scope `admin`.",
    )

    @model_validator(mode="after")
    def _steps_alone(self) -> Self:
        if self.steps and (self.workflow or self.params or self.ingest):
            raise ValueError("steps stand alone: leave out workflow, params and ingest")
        return self

    @model_validator(mode="after")
    def _job_starts(self) -> Self:
        if self.ingest and not self.start:
            raise ValueError("a photo of a job starts when it comes; leave start out")
        return self

    def as_asked(self) -> dict[str, Any]:
        """The request as earlier releases knew it, where it uses nothing newer: an
        `Idempotency-Key` outlives an upgrade.
        """
        newer = {"formats": None, "page": 1, "ingest": None, "start": True}
        newer["steps"] = None
        unused = {name for name, usual in newer.items() if getattr(self, name) == usual}
        asked = self.model_dump(exclude=unused)
        if self.ingest:
            asked["ingest"] = self.ingest.model_dump(mode="json")
        return asked

    def filled(self, job: IngestJob) -> Self:
        """The request with what it leaves out as its job has it."""
        given = self.model_fields_set
        ours: dict[str, Any] = {"priority": job.priority, "formats": job.formats}
        update = {name: value for name, value in ours.items() if name not in given}
        if not given & {"workflow", "params"}:
            update |= {"workflow": job.workflow.name, "params": job.workflow.params}
        return self.model_copy(update=update)


class Form(BaseModel):
    """A form (`multipart/form-data`): these fields first, then the file as `file`."""

    url: str
    fields: dict[str, str]


class Put(BaseModel):
    """PUT the file there with exactly these headers."""

    url: str
    headers: dict[str, str]


class Part(BaseModel):
    """`bytes`: exactly so many go into this part. `etag`: of the part that is there
    already, under a ticket that was renewed.
    """

    number: int
    bytes: int
    url: str
    etag: str | None = None


class Parts(BaseModel):
    """PUT each part; then POST the list of their ETags, as S3 has it, to `complete`, or
    DELETE `abort`.
    """

    upload_id: str
    parts: list[Part]
    complete: str
    abort: str


class Ticket(BaseModel):
    """Send the file by one of `post`, `put` and `multipart`, until `expires_at`.

    `put` is null where `darkroom bootstrap` found that the store does not check all
    that is sent with it.
    """

    ticket: UUID
    key: str
    post: Form
    put: Put | None
    multipart: Parts | None = None
    expires_at: datetime


class UploadState(BaseModel):
    """`waiting`: nothing was uploaded yet; `expired`: nor can it be any more; `held`: it
    is there, and was not started. `task_id` is there once decided on; of a photo that
    was held, it is the task started last.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [STATE_EXAMPLE]})

    ticket: UUID
    status: Status | Literal["waiting", "expired", "held"]
    task_id: UUID | None = None
    error: Ended | None = None


class Erased(BaseModel):
    """An upload that its owner had erased. `task_id`: of the task that was erased with
    it.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [ERASED_EXAMPLE]})

    ticket: UUID
    task_id: UUID | None = None
    status: Literal["failed"] = "failed"
    code: Literal["erased"] = "erased"
