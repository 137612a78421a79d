"""The JSON documents in the buckets: what was decided (receipt), done (record) or
refused (reason).

They are the truth that everything else is rebuilt from, so each carries a version and
all that it refers to.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal, Self
from urllib.parse import quote, unquote
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.broker.topology import Priority
from shared.errors import Code, PermanentError
from shared.s3.objects import ObjectInfo
from shared.uploads import keys
from shared.uploads.formats import CopyFormat, Format
from shared.uploads.messages import RestoreTask
from shared.uploads.photo_files import MOST_PAGES
from shared.uploads.ref import UploadRef

_MOST_SUBJECT = 1000


class Part(BaseModel):
    """Frozen JSON inside a document; unknown fields are kept out."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Document(Part):
    """One object in a bucket; a missing or wrong field is an error with the object's
    name.
    """

    VERSION: ClassVar[int] = 1

    v: int = 1

    def place(self) -> str | None:
        """The key at which it must lie; None: anywhere."""
        return None

    def to_bytes(self) -> bytes:
        """Indented UTF-8: people open these files."""
        return self.model_dump_json(indent=2, exclude_none=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> Self:
        """Raises `PermanentError(bad_document)` naming the object and the first fault.

        Where `name` is a key, a document that belongs at another one is a fault, too.
        """
        try:
            document = cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "body"
            raise PermanentError(
                Code.BAD_DOCUMENT, f"{name}: {where}: {first['msg']}"
            ) from error
        if document.v != cls.VERSION:
            detail = (
                f"{name}: version {document.v}; this code reads version {cls.VERSION}"
            )
            raise PermanentError(Code.BAD_DOCUMENT, detail)
        if "/" in name and document.place() not in (None, name):
            raise PermanentError(
                Code.BAD_DOCUMENT, f"{name}: its ids belong to {document.place()}"
            )
        return document


class Source(Part):
    """The uploaded object as the handler saw it. `width`, `height` [px] are the
    header's, before orientation.

    `filename`: its true name, where the key could not hold it. `page`: which page of a
    TIFF is meant; None: the first. `captions`: what was told beside the file, as
    `shared.uploads.told_captions` names it.
    """

    bucket: str
    key: str
    filename: str | None = None
    version: str | None = None
    etag: str
    bytes: int
    upload_time: datetime
    sha256: str | None = None
    format: str | None = None
    width: int | None = None
    height: int | None = None
    mode: str | None = None
    page: int | None = Field(default=None, ge=2, le=MOST_PAGES)
    captions: dict[str, str] | None = None

    def of_page(self, page: int) -> Self:
        """The same object, with this page meant."""
        return self.model_copy(update={"page": page if page > 1 else None})

    def told(self, captions: dict[str, str] | None) -> Self:
        """The same object, with captions that came beside it."""
        return self.model_copy(update={"captions": captions})

    @property
    def stored(self) -> ObjectInfo:
        """The object, as a store is asked for this very one."""
        return ObjectInfo(
            self.bucket,
            self.key,
            self.etag,
            self.bytes,
            self.upload_time,
            self.version,
        )


class WorkflowRef(Part):
    """A resolved workflow by name: enough to resolve it again and see that it is still
    the same.
    """

    name: str
    version: int
    params: dict[str, Any]
    signature: str


class ModelRef(Part):
    name: str
    sha256: str


class Fault(Part):
    """Why a photo was refused or failed: a code for machines, a sentence for people."""

    error_code: Code
    error_detail: str


class Region(Part):
    """Pixels of the upright photo; what reaches over its edge is left out."""

    x: int = Field(ge=0, le=1 << 20)
    y: int = Field(ge=0, le=1 << 20)
    width: int = Field(ge=16, le=2048)
    height: int = Field(ge=16, le=2048)


class PreviewSpec(Part):
    """What a preview shows: a `region`, or the whole photo with at most `max_px` on its
    longer side before the work.
    """

    region: Region | None = None
    max_px: int | None = Field(None, ge=16, le=2048)


class IngestRef(Part):
    """Which item of which job of an album or archive an upload is."""

    job: UUID
    item: int = Field(ge=1, lt=1 << 31)


class Receipt(Document):
    """`receipts/{upload_id}.json`: what the handler decided about one upload. `lane`:
    see `broker.topology`.
    """

    upload_id: str
    decision: Literal["queued", "duplicate", "rejected", "held"]
    """`held`: fit to be restored, and not started yet. `workflow`, `priority`,
    `formats` and `callback` are what a start does without naming them.
    """
    source: Source
    user_hash: str
    priority: Priority
    lane: int = Field(default=0, ge=0, lt=32)
    decided_at: datetime
    task_id: str | None = None
    workflow: WorkflowRef | None = None
    fault: Fault | None = None
    preview: PreviewSpec | None = None
    retries: int = 0
    """How often a person gave it a fresh start after it had failed; the last time at
    `retried_at`.
    """
    retried_at: datetime | None = None
    callback: str | None = None
    """The URL that is called when the upload has ended."""
    ingest: IngestRef | None = None
    formats: list[Format] = []
    """Of the copies that are made beside the result."""
    mask: Source | None = None
    """The picture whose checksum the workflow's parameter `mask` holds."""
    traceparent: str | None = None
    """The trace that began with the upload, where traces are sent."""
    run_of: str | None = None
    """The upload whose bytes are restored (again) by this run of it: a run is an upload
    of its own, without an object of its own, and its time is that of its start.
    """

    @classmethod
    def of_record(cls, record: Record) -> Self:
        """The receipt of the upload that a record is of, as far as the record knows it."""
        return cls(
            upload_id=record.upload_id,
            decision="queued",
            source=record.source,
            user_hash=record.user_hash,
            priority="bulk",
            decided_at=record.queued_at,
            task_id=record.task_id,
            workflow=record.workflow,
            formats=record.formats,
            run_of=record.run_of,
        )

    @property
    def ref(self) -> UploadRef:
        """The upload that was decided on."""
        return UploadRef(self.upload_id, self.source.upload_time)

    @property
    def restore_task(self) -> RestoreTask:
        """The message that calls a worker to what the receipt asks for."""
        assert self.task_id is not None
        return RestoreTask(
            task_id=self.task_id,
            upload_id=self.upload_id,
            priority=self.priority,
            queued_at=self.decided_at,
        )

    def place(self) -> str:
        return keys.receipt(self.upload_id)


class Superseded(Receipt):
    """`earlier/{upload_id}/…`: a receipt that another one took the place of, as the
    same bytes came again at the key.

    What was made of the upload is still its owner's, to see and to erase.
    """

    @classmethod
    def of(cls, receipt: Receipt) -> Self:
        return cls.model_validate(receipt.model_dump())

    def place(self) -> str:
        return keys.earlier(self.upload_id, self.source.upload_time, self.task_id)


class Run(Receipt):
    """`runs/{upload_id of the photo}/…`: the receipt of a run, as it was started.

    It leads from a photo to its runs, and is written before the receipt, which is made
    anew from it where it is damaged.
    """

    @classmethod
    def of(cls, receipt: Receipt) -> Self:
        return cls.model_validate(receipt.model_dump())

    def place(self) -> str:
        return keys.run(self.run_of or "", self.upload_id)


class Held(Document):
    """`held/{upload_id}.json`: this upload waits for its start, and expires without."""


class Refused(Document):
    """`refused/{ticket}/{upload_id}.json`: an upload of a ticket that was refused; its
    object lies in quarantine.
    """

    upload_id: str


class Reason(Document):
    """`quarantine/{upload_id}/reason.json`: the end of an upload that has no result.

    `engine`, `device`, `tile`, `concurrency` and the peaks are those of a photo that
    came to the device; `duration_seconds` is the time that the last attempt spent on
    it, and `queue_seconds` the time that it waited. Of a worker that died nothing of
    these is known.
    """

    upload_id: str
    task_id: str | None = None
    status: Literal["rejected", "failed"]
    error_code: Code
    error_detail: str
    source: Source
    attempts: int = 0
    retries: int = 0
    at: datetime
    engine: str | None = None
    device: str | None = None
    tile: dict[str, Any] | None = None
    concurrency: int | None = None
    duration_seconds: float | None = None
    queue_seconds: float | None = None
    peak_memory_bytes: int | None = None
    peak_device_memory_bytes: int | None = None

    @property
    def ref(self) -> UploadRef:
        """The upload that ended; the same bytes at the same key share its place."""
        return UploadRef(self.upload_id, self.source.upload_time)

    def place(self) -> str:
        return keys.reason(self.upload_id)


class Copy(Part):
    """A copy of a result, to hand out. `format`: the word that asked for it; a copy like
    the original may be the result itself. `labelled`: with the visible label.
    """

    format: CopyFormat
    key: str
    sha256: str
    bytes: int
    labelled: bool = False


class Credentials(Part):
    """Content credentials of a result, in a file beside it: who signed which bytes, by
    which certificate and kind of signature, when.
    """

    key: str
    sha256: str
    bytes: int
    result_sha256: str
    subject: str
    certificate_sha256: str
    algorithm: str
    signed_at: datetime

    def metadata(self) -> dict[str, str]:
        """What the object says of itself."""
        said = self.model_dump(mode="json", exclude={"key", "bytes"})
        # A certificate may name its owner in any script, and at any length; metadata are
        # plain and short.
        said["subject"] = quote(self.subject)[:_MOST_SUBJECT]
        return {name.replace("_", "-"): value for name, value in said.items()}

    @classmethod
    def of_object(cls, info: ObjectInfo) -> Self | None:
        """What an object says of itself; None: not enough."""
        said = {name.replace("-", "_"): text for name, text in info.metadata.items()}
        said["subject"] = unquote(said.get("subject", ""))
        try:
            return cls.model_validate({**said, "key": info.key, "bytes": info.bytes})
        except ValidationError:
            return None


class Skipped(Part):
    """Why a step was left out: a code for machines, a sentence for people, and the
    figures that decided, with their thresholds.
    """

    code: str
    because: str
    measured: dict[str, Any] = {}


class PlannedStep(Part):
    """What the look decided on one step of a workflow. `params`: what it set."""

    step: str
    params: dict[str, Any] = {}
    skipped: Skipped | None = None


class Plan(Part):
    """What the look measured of a photo, and decided. `gates`: their version."""

    gates: int
    look: dict[str, Any]
    steps: list[PlannedStep]


class StepTime(Part):
    """One step of a workflow, or of the pipeline; a skipped one took no time."""

    step: str
    seconds: float
    model: str | None = None
    detail: dict[str, Any] = {}
    skipped: Skipped | None = None


class Record(Document):
    """`processed/{task_id}.json`: what was done to one photo, enough to do it again.
    Written last: it commits.
    """

    task_id: str
    upload_id: str
    user_hash: str
    source: Source
    workflow: WorkflowRef
    models: list[ModelRef]
    engine: str
    device: str
    tile: dict[str, Any]
    steps: list[StepTime]
    width: int
    height: int
    result_key: str
    result_sha256: str
    result_bytes: int
    attempts: int
    queued_at: datetime
    started_at: datetime
    finished_at: datetime
    duration_seconds: float
    queue_seconds: float
    peak_memory_bytes: int
    peak_device_memory_bytes: int | None = None
    concurrency: int | None = None
    """Photos that the worker had in hand when this one came to the device."""
    software: str
    notes: list[str] = []
    preview: PreviewSpec | None = None
    mask_key: str | None = None
    """Where the mask of a repair lies; None: nothing looked for damage."""
    plan: Plan | None = None
    formats: list[Format] = []
    copies: list[Copy] = []
    credentials: Credentials | None = None
    """Those that the worker made; None: none."""
    run_of: str | None = None
    """The upload whose bytes were restored by this run of it; None: its own."""

    def place(self) -> str:
        return keys.record(self.task_id)

    @property
    def ref(self) -> UploadRef:
        """The upload that it was made for; others may share its task."""
        return UploadRef(self.upload_id, self.source.upload_time)
