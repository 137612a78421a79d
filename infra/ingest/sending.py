"""A source's photos on their way into the bucket: each is read once, checked against
what the source says of it, and put under a key that its bytes and its request name.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Protocol
from urllib.parse import quote

from infra.ingest import photo as photos
from infra.ingest.inventory import Inventory
from infra.ingest.journal import Journal
from infra.ingest.manifest import Row
from infra.ingest.members import ItemFault, Member, Refused
from infra.ingest.photo import Photo
from infra.ingest.sources import Source
from shared import workflows
from shared.broker.topology import Priority
from shared.errors import Code, NotFound, PermanentError
from shared.s3.store import ObjectStore
from shared.uploads import keys, tiff_pages, told_captions
from shared.uploads.identity import canonical_json
from shared.uploads.ingests import (
    PAGE_ITEMS,
    IngestItem,
    IngestStore,
    path_of_file,
    path_of_page,
)
from shared.uploads.ref import upload_id_of
from shared.workflows import ResolvedWorkflow

SENDERS = 8
MOST_FILENAME_CHARS = 1000
"""Object metadata has room for two thousand characters altogether."""


@dataclass(frozen=True)
class Order:
    """What is asked for of every photo that has no row which says otherwise."""

    job: str
    workflow: ResolvedWorkflow
    priority: Priority
    bucket: str
    max_bytes: int
    max_pages: int
    callback: str | None = None
    usual_params: workflows.Usual = field(default_factory=dict)


class Rate:
    """At most so many bytes a second, over all senders."""

    def __init__(self, bytes_per_s: float | None) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_at_s = time.monotonic()
        self._lock = threading.Lock()

    def wait_for(self, size: int) -> None:
        """Wait until these bytes may go."""
        if self._bytes_per_s is None:
            return
        with self._lock:
            begins_s = max(self._free_at_s, time.monotonic())
            self._free_at_s = begins_s + size / self._bytes_per_s
        time.sleep(max(0.0, begins_s - time.monotonic()))


class Throttle(Protocol):
    """Keeps the photos that wait for a worker down to a number."""

    def wait_for_room(self) -> None:
        """Wait until another photo may be sent."""

    def add(self, upload_id: str) -> None:
        """Count an upload that was sent."""


class Sending:
    """The photos of one job on their way; a run for each of its sources.

    `is_continued`: another machine, or a lost journal, may have sent some of them.
    """

    def __init__(
        self,
        store: ObjectStore,
        ingests: IngestStore,
        journal: Journal,
        order: Order,
        *,
        rate: Rate,
        throttle: Throttle,
        is_continued: bool,
    ) -> None:
        self._store = store
        self._ingests = ingests
        self._journal = journal
        self._order = order
        self._rate = rate
        self._throttle = throttle
        self._is_continued = is_continued
        self._lock = threading.Lock()
        # A run that was killed may have left some that it had not written yet.
        self._changed = journal.changed_pages()

    def run(self, source: Source, inventory: Inventory, prefix: str = "") -> None:
        """Send what was not sent before, and note the faults of the inventory.

        `prefix`: what the paths of this source begin with in the job.
        Raises `SettingsError` where the source cannot be read to its end.
        """
        for refused in inventory.faults:
            words = inventory.words_of(refused.path)
            self._note_fault(prefix + refused.path, refused.fault, words)
        if self._was_all_sent(inventory, prefix):
            self._write_pages()
            return
        with ThreadPoolExecutor(SENDERS) as pool:
            waiting: set[Future[None]] = set()
            for member in source.members():
                if isinstance(member, Refused) or member.path not in inventory.photos:
                    continue
                future = self._begin(pool, member, inventory, prefix)
                if future:
                    waiting.add(future)
                if len(waiting) >= SENDERS:
                    waiting = _without_ended(waiting)
                    self._write_pages(but=2)
            for future in waiting:
                future.result()
        self._write_pages()

    def _was_all_sent(self, inventory: Inventory, prefix: str) -> bool:
        """Whether the source need not be read again."""
        return all(
            self._journal.is_sent(
                prefix + path,
                _mark(
                    inventory.marks[path],
                    told_captions.fitting(inventory.words_of(path)),
                ),
            )
            for path in inventory.photos
        )

    def _begin(
        self,
        pool: ThreadPoolExecutor,
        member: Member,
        inventory: Inventory,
        prefix: str,
    ) -> Future[None] | None:
        """Read a photo, as the source must be read in its order, and have it sent."""
        path = prefix + member.path
        words = inventory.words_of(member.path)
        captions = told_captions.fitting(words)
        mark = _mark(member.mark, captions)
        if self._journal.is_sent(path, mark):
            return None
        self._throttle.wait_for_room()
        row = inventory.row_of(member.path)
        try:
            wish = self._wish(row)
            if captions:
                wish["captions"] = told_captions.written(captions)
            photo = photos.read(
                member, inventory.checksum_of(member.path), self._order.max_bytes
            )
            _check_row(member, row, photo)
        except ItemFault as fault:
            self._note_fault(path, fault, words, member.size)
            return None
        items = [
            IngestItem(
                item=self._journal.item_of(place),
                path=place,
                bytes=photo.size,
                sha256=photo.sha256.hex(),
                words=words,
                modified_at=member.modified_at,
            )
            for place in self._places(path, photo)
        ]
        return pool.submit(self._send, photo, wish, items, mark)

    def _places(self, path: str, photo: Photo) -> list[str]:
        """The paths of the pages of a photo, which is a page itself where it has no
        others, or more than are taken.
        """
        most = self._order.max_pages
        count = 1
        if path.lower().endswith(tiff_pages.SUFFIXES):
            count = len(tiff_pages.directories(photo.body, most + 1))
        if count > most:
            count = 1
        return [path_of_page(path, page) for page in range(1, max(count, 1) + 1)]

    def _wish(self, row: Row | None) -> dict[str, str]:
        """What is asked for of a photo, as its metadata.

        Raises `ItemFault(bad_manifest_row)`.
        """
        workflow = self._workflow(row) if row else self._order.workflow
        return {
            "workflow": workflow.ref.name,
            "params": json.dumps(workflow.ref.params, sort_keys=True),
            "priority": self._order.priority,
        }

    def _workflow(self, row: Row) -> ResolvedWorkflow:
        """A row's own workflow; one that names none has the job's, and its parameters
        where it names none of these either.
        """
        ours = self._order.workflow
        if row.workflow is None and row.params is None:
            return ours
        try:
            name = row.workflow or ours.ref.name
            return workflows.asked(name, row.params, self._order.usual_params)
        except PermanentError as error:
            detail = f"line {row.number} of the manifest: {error.detail}"
            raise ItemFault(Code.BAD_MANIFEST_ROW, detail) from error

    def _send(
        self,
        photo: Photo,
        wish: dict[str, str],
        items: list[IngestItem],
        mark: str,
    ) -> None:
        with photo.body:
            # The first page goes last: with it the file counts as sent.
            for page in range(len(items), 0, -1):
                asked = wish if page == 1 else {**wish, "page": str(page)}
                self._send_page(photo, asked, items[page - 1], mark)

    def _send_page(
        self, photo: Photo, wish: dict[str, str], item: IngestItem, mark: str
    ) -> None:
        key = _key(photo, wish, item.path or "")
        item = item.model_copy(update={"key": key})
        was_begun = self._is_continued or self._journal.was_begun(key)
        self._write(item, mark)
        upload_id = self._put(photo, wish, item, was_begun)
        self._write(item.model_copy(update={"upload_id": upload_id}), mark)
        self._throttle.add(upload_id)

    def _put(
        self, photo: Photo, wish: dict[str, str], item: IngestItem, was_begun: bool
    ) -> str:
        """The upload of a photo; one that is there already is not sent again."""
        key = item.key or ""
        if was_begun:
            # The run before may have ended while it was on its way.
            with suppress(NotFound):
                return upload_id_of(self._store.head(self._order.bucket, key))
        metadata = wish | {"ingest": f"{self._order.job}/{item.item}"}
        filename = quote(PurePosixPath(path_of_file(item.path or "")).name)
        if len(filename) <= MOST_FILENAME_CHARS:
            metadata["filename"] = filename
        kind = mimetypes.guess_type(key)[0] or "application/octet-stream"
        self._rate.wait_for(photo.size)
        info = self._store.put(self._order.bucket, key, photo.body, kind, metadata)
        return upload_id_of(info)

    def _note_fault(
        self, path: str, fault: ItemFault, words: dict[str, str], size: int = 0
    ) -> None:
        # A name that is no UTF-8 is what is wrong with some of them.
        writable = path.encode("utf-8", "replace").decode()
        item = IngestItem(
            item=self._journal.item_of(writable),
            path=writable,
            bytes=size,
            error_code=fault.code,
            error_detail=fault.detail.encode("utf-8", "replace").decode(),
            words=words,
        )
        self._write(item, "")

    def _write(self, item: IngestItem, mark: str) -> None:
        with self._lock:
            self._journal.write(item, mark)
            page = (item.item - 1) // PAGE_ITEMS + 1
            if page not in self._changed:
                self._journal.page_changed(page)
                self._changed.add(page)

    def _write_pages(self, but: int = 0) -> None:
        """Write the pages that changed; `but`: so many of the last ones may change yet."""
        with self._lock:
            pages = sorted(self._changed)[: len(self._changed) - but]
            self._changed.difference_update(pages)
            read = [(page, list(self._journal.items(page))) for page in pages]
        for page, items in read:
            self._ingests.write_page(self._order.job, items)
            with self._lock:
                if page not in self._changed:
                    self._journal.page_written(page)


def _mark(mark: str, captions: dict[str, str]) -> str:
    """What changes when a file does, or what is told of it, which is another wish."""
    if not captions:
        return mark
    digest = hashlib.sha256(canonical_json(captions)).hexdigest()
    return f"{mark}:{digest[:16]}"


def _key(photo: Photo, wish: dict[str, str], path: str) -> str:
    """Bytes, request and place name the key, so every item is an upload of its own, and
    the same one whichever machine sends it. Its last part is plain, as every store and
    every tool takes it.
    """
    request = canonical_json({**wish, "path": path})
    content = hashlib.sha256(photo.sha256 + request).hexdigest()[:16]
    name = keys.plain(PurePosixPath(path_of_file(path)).name) or "photo"
    return f"incoming/{wish['workflow']}/{content}/{name}"


def _check_row(member: Member, row: Row | None, photo: Photo) -> None:
    """Raises `ItemFault(checksum_mismatch)`."""
    if row and row.size not in (None, photo.size):
        detail = f"{member.path!r} has {photo.size:,} bytes, its row says {row.size:,}"
        raise ItemFault(Code.CHECKSUM_MISMATCH, detail)


def _without_ended(waiting: set[Future[None]]) -> set[Future[None]]:
    """Wait for one of them at least. Raises what a sender raised."""
    done, left = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        future.result()
    return left
