"""Jobs of whole albums and archives, in the bucket for results: what was sent, and what
was not and why, so that any machine can go on with a job and hand out its results.

A job's items lie in pages of `PAGE_ITEMS`; a page is written again where one of its
items was sent again, or erased.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import PurePosixPath

from pydantic import Field

from shared.broker.topology import Priority
from shared.errors import Code, NotFound
from shared.s3.store import ObjectStore
from shared.uploads import keys
from shared.uploads.documents import Document, IngestRef, Part, WorkflowRef
from shared.uploads.formats import Format
from shared.uploads.messages import Status

JSON = "application/json"
JSON_LINES = "application/jsonl"
PAGE_ITEMS = 1000
_PAGE_MARK = "#page="
"""No file of a source has it in its name: what has is no photo, by its suffix."""


class IngestJob(Document):
    """`ingests/{job}/job.json`: what was asked for.

    `user_hash`: whose job it is; None: one of `darkroom ingest`. `callback`: the URL
    that is called when all of its photos have ended. `formats`: of the copies that its
    photos get beside their results; None: those of the setting.
    """

    job: str
    name: str
    workflow: WorkflowRef
    priority: Priority
    begun_at: datetime
    user_hash: str | None = None
    callback: str | None = None
    formats: list[Format] | None = None

    def place(self) -> str:
        return keys.ingest_job(self.job)


class IngestEnd(Document):
    """`ingests/{job}/end.json`: everything that can be sent was sent; written last.

    `skipped`: files that are no photos, or are carried along.
    """

    job: str
    sent: int
    failed: int
    skipped: int
    at: datetime

    def place(self) -> str:
        return keys.ingest_end(self.job)


class IngestCall(Document):
    """`callbacks/ingests/{job}.json`: the webhook about the end of a job. It is there
    from the end of the sending until the call was made.

    `counts`, `finished_at`: of the job's uploads by status, once all of them have ended.
    """

    job: str
    url: str
    user_hash: str = ""
    begun_at: datetime
    sent: int
    counts: dict[Status, int] = Field(default_factory=dict)
    finished_at: datetime | None = None

    def place(self) -> str:
        return keys.ingest_call(self.job)

    def finished(self, counts: Mapping[Status, int], at: datetime) -> IngestCall:
        """The webhook with what it says. `counts`: by status."""
        return self.model_copy(update={"counts": dict(counts), "finished_at": at})


class IngestItem(Part):
    """One photo of a job.

    `path`: its place in the source, for a further page of a TIFF with `#page=2` behind
    it; None once it was erased. `words`: its row in the manifest. `modified_at`: when
    its file was changed, where its source knew. Without `upload_id` it was not sent,
    because of `error_code`.
    """

    item: int = Field(ge=1)
    path: str | None = None
    bytes: int = 0
    sha256: str | None = None
    key: str | None = None
    upload_id: str | None = None
    error_code: Code | None = None
    error_detail: str | None = None
    words: dict[str, str] = Field(default_factory=dict)
    modified_at: datetime | None = None

    @property
    def erased(self) -> IngestItem:
        """The item without anything that its owner wrote."""
        words: dict[str, str] = {}
        nothing = {"path": None, "key": None, "words": words, "modified_at": None}
        return self.model_copy(update=nothing)


class SkippedFile(Part):
    """A file of a job's source that was not sent, and why, which is no failure."""

    path: str
    why: str

    def is_beside(self, photo: str) -> bool:
        """Whether it lies beside a photo under its name: a sidecar, a back, the moving
        part of a Live Photo.
        """
        stem = photo.removesuffix(PurePosixPath(photo).suffix)
        rest = self.path.removeprefix(stem)
        return self.path.startswith(stem) and rest.startswith((".", "_b."))


class IngestStore:
    """The only reader and writer of jobs. All methods raise `StorageUnavailable`."""

    def __init__(self, objects: ObjectStore, bucket: str) -> None:
        self._objects = objects
        self._bucket = bucket

    def jobs(self) -> Iterator[IngestJob]:
        """Every job, in the order of their ids."""
        for info in self._objects.list(self._bucket, keys.ingests()):
            if info.key.endswith("/job.json"):
                yield self._job_at(info.key)

    def job(self, job: str) -> IngestJob:
        """One job. Raises `NotFound`."""
        return self._job_at(keys.ingest_job(job))

    def begin(self, job: IngestJob) -> IngestJob:
        """Write a job down; of one that is there already the job as it was begun."""
        with suppress(NotFound):
            return self.job(job.job)
        # Before the job: a name without a job is passed over, a job without a name would
        # not be found again.
        name = keys.ingest_listed(job.user_hash, job.job, job.begun_at)
        self._put(name, b"", JSON)
        if self._objects.put_new(self._bucket, job.place(), job.to_bytes(), JSON):
            return job
        self._objects.delete(self._bucket, name)
        return self.job(job.job)

    def latest(
        self, user_hash: str | None, after: str, most: int
    ) -> list[tuple[str, IngestJob]]:
        """Jobs of one user, or with `""` of everybody, the latest first, each with the
        mark `after` which those behind it stand.
        """
        listed = self._objects.list(self._bucket, keys.ingest_lists(user_hash))
        marks = sorted(keys.filename(info.key) for info in listed)
        found = []
        for mark in marks[bisect_right(marks, after) :]:
            with suppress(NotFound):
                found.append((mark, self.job(mark.partition("-")[2])))
            if len(found) == most:
                break
        return found

    def finish(self, job: IngestJob, end: IngestEnd) -> None:
        """Write the end of a job's sending, and ask for the webhook that it wants. May be
        repeated, with more photos as well.
        """
        if job.callback:
            call = IngestCall(
                job=job.job,
                url=job.callback,
                user_hash=job.user_hash or "",
                begun_at=job.begun_at,
                sent=end.sent,
            )
            # Before the end: whoever was killed between the two repeats both.
            self._put(call.place(), call.to_bytes(), JSON)
        self.write(end)

    def calls(self) -> Iterator[IngestCall]:
        """The webhooks that are to be asked for."""
        for info in self._objects.list(self._bucket, keys.ingest_calls()):
            call = self.call(keys.filename(info.key).removesuffix(".json"))
            if call:
                yield call

    def call(self, job: str) -> IngestCall | None:
        """The webhook about the end of a job; None: there is none, or none any more."""
        key = keys.ingest_call(job)
        try:
            return IngestCall.from_bytes(self._objects.read(self._bucket, key), key)
        except NotFound:
            return None

    def write_call(self, call: IngestCall) -> None:
        """Write a webhook over what is there."""
        self._put(call.place(), call.to_bytes(), JSON)

    def delete_call(self, job: str) -> None:
        """Forget a webhook that was made."""
        self._objects.delete(self._bucket, keys.ingest_call(job))

    def end(self, job: str) -> IngestEnd | None:
        """The end of a job's sending; None while it lasts."""
        key = keys.ingest_end(job)
        try:
            data = self._objects.read(self._bucket, key)
        except NotFound:
            return None
        return IngestEnd.from_bytes(data, key)

    def write(self, document: IngestJob | IngestEnd) -> None:
        """Write a job, or its end, over what is there."""
        self._put(document.place() or "", document.to_bytes(), JSON)

    def items(self, job: str) -> Iterator[IngestItem]:
        """The items of a job, in order."""
        for info in self._objects.list(self._bucket, keys.ingest_items(job)):
            yield from self._page_at(info.key)

    def page(self, job: str, number: int) -> list[IngestItem]:
        """The items of one page, which counts from 1; none behind the last."""
        try:
            return self._page_at(keys.ingest_page(job, number))
        except NotFound:
            return []

    def write_page(self, job: str, items: Iterable[IngestItem]) -> None:
        """Write items that make one page, without the words of those erased meanwhile."""
        page = list(items)
        key = keys.ingest_page(job, _page_of(page[0].item))
        self._write_lines(key, page)
        marks = self._objects.list(self._bucket, keys.ingest_erased(job))
        erased = {keys.filename(mark.key) for mark in marks}
        kept = [item.erased if item.upload_id in erased else item for item in page]
        if kept != page:
            self._write_lines(key, kept)

    def erase(self, ref: IngestRef, upload_id: str) -> None:
        """Take what its owner wrote of an upload out of its job. May be repeated.

        The mark stays for a page that is not written yet. An upload that names an item
        which is another's changes nothing there.
        """
        self._put(keys.ingest_erased(str(ref.job), upload_id), b"", JSON)
        key = self.page_of(ref)
        with suppress(NotFound):
            page = self._page_at(key)
            for item in page:
                # Before the item: it says which files are beside it.
                if item.upload_id == upload_id and item.path:
                    self._forget_beside(str(ref.job), path_of_file(item.path))
            kept = [
                item.erased if item.upload_id == upload_id else item for item in page
            ]
            if kept != page:
                self._write_lines(key, kept)

    def skipped(self, job: str) -> list[SkippedFile]:
        """The files that were not sent; none where none were, or nobody told."""
        with suppress(NotFound):
            data = self._objects.read(self._bucket, keys.ingest_skipped(job))
            lines = data.splitlines()
            return [SkippedFile.model_validate_json(line) for line in lines if line]
        return []

    def write_skipped(
        self, job: str, files: Iterable[SkippedFile], photos: Mapping[str, str]
    ) -> None:
        """Write the files that were not sent, but for those beside a photo that was
        erased. `photos`: upload → path.
        """
        marks = self._objects.list(self._bucket, keys.ingest_erased(job))
        erased = [photos.get(keys.filename(mark.key)) for mark in marks]
        kept = [
            file
            for file in files
            if not any(photo and file.is_beside(photo) for photo in erased)
        ]
        self._write_lines(keys.ingest_skipped(job), kept)

    def _forget_beside(self, job: str, photo: str) -> None:
        found = self.skipped(job)
        kept = [file for file in found if not file.is_beside(photo)]
        if kept != found:
            self._write_lines(keys.ingest_skipped(job), kept)

    def page_of(self, ref: IngestRef) -> str:
        """The key of the page that an item lies in."""
        return keys.ingest_page(str(ref.job), _page_of(ref.item))

    def _job_at(self, key: str) -> IngestJob:
        return IngestJob.from_bytes(self._objects.read(self._bucket, key), key)

    def _page_at(self, key: str) -> list[IngestItem]:
        lines = self._objects.read(self._bucket, key).splitlines()
        return [IngestItem.model_validate_json(line) for line in lines if line]

    def _write_lines(self, key: str, parts: Iterable[Part]) -> None:
        lines = (part.model_dump_json(exclude_none=True) for part in parts)
        self._put(key, "".join(f"{line}\n" for line in lines).encode(), JSON_LINES)

    def _put(self, key: str, data: bytes, content_type: str) -> None:
        self._objects.put(self._bucket, key, data, content_type)


def path_of_page(path: str, page: int) -> str:
    """The path of the item that is this page of a file."""
    return path if page == 1 else f"{path}{_PAGE_MARK}{page}"


def path_of_file(path: str) -> str:
    """The path of the file of which an item is a page, or the whole."""
    file, mark, page = path.rpartition(_PAGE_MARK)
    return file if mark and page.isdecimal() else path


def have_ended(counts: Mapping[Status, int], sent: int) -> bool:
    """Whether so many photos that were sent have all come in and ended. `counts`: by
    status.
    """
    waiting = counts.get("queued", 0) + counts.get("processing", 0)
    return waiting == 0 and sum(counts.values()) >= sent


def ref_of(text: str) -> IngestRef | None:
    """The item that an upload's metadata names; None: none that can be one."""
    job, _, item = text.partition("/")
    with suppress(ValueError):
        return IngestRef.model_validate({"job": job, "item": item})
    return None


def _page_of(item: int) -> int:
    return (item - 1) // PAGE_ITEMS + 1
