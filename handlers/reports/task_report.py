"""The report about one task: what the photo was, what was looked at and done, by which
networks, when, and what came of it.

Everything in it is read from the receipt, the record and the audit log of this task.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import BaseModel

from handlers.audit_log.columns import Event
from shared.uploads import keys
from shared.uploads.documents import (
    Copy,
    ModelRef,
    Plan,
    Receipt,
    Record,
    Skipped,
    Source,
    StepTime,
    WorkflowRef,
)
from shared.uploads.messages import Status
from shared.uploads.outcome import Outcome
from shared.workflows.registry import presets

LOOPBACK = ("127.0.0.1", "localhost", "::1", "")
Happening = Literal["received", "queued", "attempt", "finished"]


class PhotoFacts(BaseModel):
    """The photo as it was uploaded. `width`, `height` [px] are its header's."""

    name: str
    uploaded_at: datetime
    bytes: int
    sha256: str | None
    format: str | None
    width: int | None
    height: int | None
    page: int | None

    @classmethod
    def of(cls, source: Source) -> PhotoFacts:
        return cls(
            name=source.filename or keys.filename(source.key),
            uploaded_at=source.upload_time,
            bytes=source.bytes,
            sha256=source.sha256,
            format=source.format,
            width=source.width,
            height=source.height,
            page=source.page,
        )


class ParameterValue(BaseModel):
    """`default`: the workflow's own value; null where this release has another version
    of the workflow.
    """

    name: str
    value: Any
    default: Any = None


class WorkflowFacts(BaseModel):
    name: str
    version: int
    signature: str
    params: list[ParameterValue]

    @classmethod
    def of(cls, ref: WorkflowRef) -> WorkflowFacts:
        preset = presets().get(ref.name)
        known = preset is not None and preset.version == ref.version
        defaults = preset.parameters() if preset and known else {}
        params = [
            ParameterValue(
                name=name,
                value=value,
                default=defaults[name].default if name in defaults else None,
            )
            for name, value in ref.params.items()
        ]
        return cls(
            name=ref.name, version=ref.version, signature=ref.signature, params=params
        )


class StepFacts(BaseModel):
    """One step. `params`: what the look at the photo set. `skipped`: why it was left
    out.
    """

    step: str
    seconds: float | None = None
    model: str | None = None
    params: dict[str, Any] = {}
    detail: dict[str, Any] = {}
    skipped: Skipped | None = None


class LookFacts(BaseModel):
    """What was measured of the photo before any step, and the version of the gates."""

    gates: int
    figures: dict[str, Any]


class Moment(BaseModel):
    """What happened when. `attempt`: the number of a worker's try."""

    at: datetime
    what: Happening
    attempt: int | None = None


class ResultFacts(BaseModel):
    """The restored photo, a PNG of `width` × `height` px. `mask`: whether there is one
    of where it was repaired.
    """

    sha256: str
    bytes: int
    width: int
    height: int
    mask: bool


class CopyFacts(BaseModel):
    format: str
    labelled: bool
    sha256: str
    bytes: int

    @classmethod
    def of(cls, copy: Copy) -> CopyFacts:
        return cls(**copy.model_dump(include=set(cls.model_fields)))


class MachineFacts(BaseModel):
    """What did the work, and what it took: seconds of the worker and of waiting, and the
    peaks of memory.
    """

    engine: str
    device: str
    software: str
    tile: dict[str, Any]
    concurrency: int | None
    duration_seconds: float
    queue_seconds: float
    peak_memory_bytes: int
    peak_device_memory_bytes: int | None

    @classmethod
    def of(cls, record: Record) -> MachineFacts:
        return cls(**record.model_dump(include=set(cls.model_fields)))


class ErrorFacts(BaseModel):
    code: str
    detail: str


class TaskReport(BaseModel):
    """All about one task, for people and programs, without anything of another user.

    `look`, `machine` and `result` are null until the photo is restored; `error` says why
    it was not. `job`: the batch that it is of. `console_url` leads to the task in the console, where its address is
    known to more than this machine.
    """

    task_id: UUID
    status: Status
    made_at: datetime
    photo: PhotoFacts
    workflow: WorkflowFacts | None
    look: LookFacts | None = None
    steps: list[StepFacts] = []
    models: list[ModelRef] = []
    timeline: list[Moment]
    attempts: int = 0
    result: ResultFacts | None = None
    copies: list[CopyFacts] = []
    machine: MachineFacts | None = None
    notes: list[str] = []
    error: ErrorFacts | None = None
    job: UUID | None = None
    console_url: str | None = None


def of_record(record: Record, events: Iterable[Event], at: datetime) -> TaskReport:
    """The report about a photo that was restored, made `at` this time."""
    return TaskReport(
        task_id=UUID(record.task_id),
        status="success",
        made_at=at,
        photo=PhotoFacts.of(record.source),
        workflow=WorkflowFacts.of(record.workflow),
        look=_look(record.plan),
        steps=_steps(record.steps, record.plan),
        models=record.models,
        timeline=_timeline(record, events),
        attempts=record.attempts,
        result=ResultFacts(
            sha256=record.result_sha256,
            bytes=record.result_bytes,
            width=record.width,
            height=record.height,
            mask=record.mask_key is not None,
        ),
        copies=[CopyFacts.of(copy) for copy in record.copies],
        machine=MachineFacts.of(record),
        notes=record.notes,
    )


def of_receipt(
    receipt: Receipt,
    status: Status,
    outcome: Outcome | None,
    events: Iterable[Event],
    at: datetime,
) -> TaskReport:
    """The report about a photo that has no result, or none yet. `outcome`: how its
    upload ended.
    """
    assert receipt.task_id is not None
    reason = outcome.reason if outcome else None
    fault = outcome.fault if outcome else None
    timeline = [
        Moment(at=receipt.source.upload_time, what="received"),
        Moment(at=receipt.decided_at, what="queued"),
        *_attempts(events),
    ]
    if outcome:
        timeline.append(Moment(at=outcome.at, what="finished"))
    return TaskReport(
        task_id=UUID(receipt.task_id),
        status=status,
        made_at=at,
        photo=PhotoFacts.of(receipt.source),
        workflow=WorkflowFacts.of(receipt.workflow) if receipt.workflow else None,
        timeline=timeline,
        attempts=reason.attempts if reason else 0,
        error=ErrorFacts(code=fault.error_code, detail=fault.error_detail)
        if fault
        else None,
    )


def console_url(api_url: str, view: str) -> str | None:
    """The address of a view of the console; None where only this machine can reach it,
    or nobody knows where it is.
    """
    host = urlsplit(api_url).hostname or ""
    if host in LOOPBACK:
        return None
    return f"{api_url.rstrip('/')}/console/#/{view}"


def _look(plan: Plan | None) -> LookFacts | None:
    return LookFacts(gates=plan.gates, figures=plan.look) if plan else None


def _steps(steps: Iterable[StepTime], plan: Plan | None) -> list[StepFacts]:
    """The steps in the order in which they were done, with what the look had set."""
    planned: Mapping[str, dict[str, Any]] = (
        {each.step: each.params for each in plan.steps} if plan else {}
    )
    return [
        StepFacts(
            step=each.step,
            seconds=None if each.skipped else each.seconds,
            model=each.model,
            params=planned.get(each.step, {}),
            detail=each.detail,
            skipped=each.skipped,
        )
        for each in steps
    ]


def _timeline(record: Record, events: Iterable[Event]) -> list[Moment]:
    # The audit log may be late or away: the record knows of the last attempt.
    attempts = _attempts(events) or [
        Moment(at=record.started_at, what="attempt", attempt=record.attempts)
    ]
    return [
        Moment(at=record.source.upload_time, what="received"),
        Moment(at=record.queued_at, what="queued"),
        *attempts,
        Moment(at=record.finished_at, what="finished"),
    ]


def _attempts(events: Iterable[Event]) -> list[Moment]:
    began = [event for event in events if event.kind == "processing"]
    return [
        Moment(at=event.at, what="attempt", attempt=event.fields.get("attempts"))
        for event in began
    ]
