"""Where Darkroom keeps its objects. Keys that Darkroom makes use `[A-Za-z0-9._/~-]`
only.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import Literal

_TICKETED = re.compile(
    r"users/[0-9a-f]{64}/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/[^/]"
)

Picture = Literal["result", "original"]
"""Of which of a task's two pictures."""

PROCESSED = "processed/"
"""Prefix of all results and their records."""
PYRAMIDS = "tiles/"
"""Prefix of all pyramids, which can be made again at any time."""

_LAST_MS = 10**13 - 1
"""Milliseconds since 1970 in as many digits as they will have for two centuries."""


def result(task_id: str) -> str:
    return f"{PROCESSED}{task_id}.png"


def record(task_id: str) -> str:
    return f"{PROCESSED}{task_id}.json"


def preview(task_id: str) -> str:
    return f"previews/{task_id}.webp"


def mask(task_id: str) -> str:
    """Where a repair may have changed pixels: an 8-bit PNG of the photo's size, above 0
    there.
    """
    return f"masks/{task_id}.png"


def copies(task_id: str) -> str:
    """Prefix of a task's copies to hand out; of none where there is no task."""
    return f"copies/{task_id or 'none'}"


def copy(task_id: str, extension: str, labelled: bool = False) -> str:
    mark = "-labelled" if labelled else ""
    return f"{copies(task_id)}{mark}.{extension}"


def pyramids(task_id: str, of: Picture = "result") -> str:
    """Prefix of a task's pyramids (of the original's alone), and of what is said of
    them; of none where there is no task.
    """
    mark = "~original" if of == "original" else ""
    return f"{PYRAMIDS}{task_id or 'none'}{mark}"


def pyramid(task_id: str, of: Picture = "result") -> str:
    return f"{pyramids(task_id, of)}.zip"


def no_pyramid(task_id: str, of: Picture = "result") -> str:
    """Why there can be none."""
    return f"{pyramids(task_id, of)}.json"


def draft(task_id: str) -> str:
    """What is done so far of a photo that takes long: a small WebP, which goes with the
    pyramids, and at the end of the attempt.
    """
    return f"{pyramids(task_id)}~draft.webp"


def credentials(task_id: str) -> str:
    """Content credentials of a result, which lies elsewhere."""
    return f"credentials/{task_id or 'none'}.c2pa"


def beside(task_id: str) -> tuple[str, ...]:
    """Prefixes of what is made beside a result, and goes before it."""
    return copies(task_id), credentials(task_id), pyramids(task_id)


def results(task_id: str) -> tuple[str, str, str, str]:
    """Result, preview, mask and record, in the order in which they are taken away;
    before them goes what `beside` names.

    The record goes last: while it is there, the sweep looks after the others.
    """
    return result(task_id), preview(task_id), mask(task_id), record(task_id)


def receipt(upload_id: str) -> str:
    return f"receipts/{upload_id}.json"


def receipt_prefix(upload_id: str) -> str:
    """Of the receipts of an upload's previews."""
    return f"receipts/{preview_upload(upload_id)}"


def earlier(
    upload_id: str, upload_time: datetime | None = None, task_id: str | None = None
) -> str:
    """In the results bucket: the receipt of an upload whose bytes were put again at its
    key; or the prefix of all.
    """
    name = (
        f"{upload_time.astimezone(UTC):%Y%m%dT%H%M%SZ}-{task_id or 'rejected'}.json"
        if upload_time
        else ""
    )
    return f"earlier/{upload_id}/{name}"


def claims(task_id: str = "") -> str:
    """Prefix of a task's claims, or of all claims."""
    return f"claims/{task_id}/" if task_id else "claims/"


def claim(task_id: str, attempt: int) -> str:
    """In the results bucket while a task is worked on: see `shared.uploads.claims`."""
    return f"{claims(task_id)}{attempt:04d}.json"


def callbacks_due(upload_id: str = "") -> str:
    """Prefix of the calls that are still to be made, for one upload or for all: see
    `handlers.webhooks.call_log`.
    """
    return f"callbacks/due/{upload_id}/" if upload_id else "callbacks/due/"


def callback_due(upload_id: str, attempt: int) -> str:
    return f"{callbacks_due(upload_id)}{attempt:04d}.json"


def callback_told(upload_id: str) -> str:
    """How the call about an upload ended."""
    return f"callbacks/told/{upload_id}.json"


def callbacks_off() -> str:
    """Prefix of the addresses that want no more calls."""
    return "callbacks/off/"


def callback_off(url: str, user: str = "") -> str:
    """There while the receiver at `url` wants no more calls of this user."""
    return f"{callbacks_off()}{user}/{hashlib.sha256(url.encode()).hexdigest()}.json"


SWEEP = "sweep/state.json"
"""In the results bucket: how far the sweep has come."""
ARRIVALS = "sweep/arrivals.json"
"""And how far its looks at what was uploaded of late."""


BACKUP = "backup/state.json"
"""And what the backup says of its last run."""

WORKERS = "workers/"
"""Prefix in the results bucket of what the workers can do: see `shared.offers`."""


OWN_WORKFLOWS = "workflows/own/"
"""Prefix in the results bucket of the installation's own workflow files."""


def own_workflow(name: str, version: int) -> str:
    return f"{OWN_WORKFLOWS}{name}.{version}.json"


def composed_workflow(name: str, version: int) -> str:
    """In the results bucket: the steps that one request asked for."""
    return f"workflows/composed/{name}.{version}.json"


def worker(kind: str, host: str) -> str:
    return f"{WORKERS}{kind}-{host}.json"


def kind_of_worker(key: str) -> str:
    return key.removeprefix(WORKERS).partition("-")[0]


def host_of_worker(key: str) -> str:
    return key.rpartition("-")[2].removesuffix(".json")


def reason(upload_id: str) -> str:
    return f"{upload_id}/reason.json"


def quarantined(upload_id: str, source_key: str, told: str | None = None) -> str:
    """`{upload_id}/{original name}`, the name reduced to plain characters; the reason
    keeps the true key.

    `told`: the name that the sender told beside the key.
    """
    name = plain(filename(told or source_key))
    return f"{upload_id}/{name if name and name != 'reason.json' else 'original'}"


def uploads(user_hash: str, ticket: str) -> str:
    """Prefix in the uploads bucket of what was sent for a ticket; earlier releases let
    the caller name the object.
    """
    return f"users/{user_hash}/{ticket}/"


def upload(user_hash: str, ticket: str) -> str:
    """In the uploads bucket: what is sent for a ticket.

    Nothing of it is the caller's to choose. A store that verifies the signed path in
    two halves, one of them out of an unsigned header, would take a last segment such as
    `results` for the bucket that the signed DELETE is meant for.
    """
    return f"{uploads(user_hash, ticket)}photo"


def ticket_of(source_key: str) -> str | None:
    """The ticket that an upload came by; None: by none."""
    found = _TICKETED.match(source_key)
    return found[1] if found else None


def refused(ticket: str, upload_id: str = "") -> str:
    """In the results bucket: that an upload of a ticket was refused, and is taken away
    by now; or the prefix of all.
    """
    return f"refused/{ticket}/{upload_id}.json" if upload_id else f"refused/{ticket}/"


def held(upload_id: str = "") -> str:
    """In the results bucket: marks an upload that waits for its start; or the prefix of
    all marks.
    """
    return f"held/{upload_id}.json" if upload_id else "held/"


def held_upload(key: str) -> str:
    """The upload id in the key of such a mark."""
    return key.removeprefix(held()).removesuffix(".json")


def runs(upload_id: str = "") -> str:
    """In the results bucket: the runs of an uploaded photo, or of all."""
    return f"runs/{upload_id}/" if upload_id else "runs/"


def run(upload_id: str, run_id: str) -> str:
    return f"{runs(upload_id)}{run_id}.json"


def preview_upload(upload_id: str, preview_id: str = "") -> str:
    """Stands for the upload id of a preview: the sweep and the rebuild take no notice
    of such receipts and reasons.
    """
    return f"preview/{upload_id}/{preview_id}"


def ingests(job: str = "") -> str:
    """In the results bucket: all documents of a job of an album or archive, or of all."""
    return f"ingests/{job}/" if job else "ingests/"


def ingest_job(job: str) -> str:
    return f"{ingests(job)}job.json"


def ingest_end(job: str) -> str:
    return f"{ingests(job)}end.json"


def ingest_skipped(job: str) -> str:
    return f"{ingests(job)}skipped.jsonl"


def ingest_items(job: str) -> str:
    return f"{ingests(job)}items/"


def ingest_page(job: str, page: int) -> str:
    """`page` counts from 1."""
    return f"{ingest_items(job)}{page:06d}.jsonl"


def ingest_erased(job: str, upload_id: str = "") -> str:
    """Marks an upload of the job as erased; or the prefix of all marks."""
    return f"{ingests(job)}erased/{upload_id}"


def ingest_lists(user_hash: str | None = "") -> str:
    """Prefix of the names of a user's jobs; `""`: of everybody's, None: of those which
    `darkroom ingest` began and which are nobody's.
    """
    return f"jobs/{user_hash or 'none'}/" if user_hash != "" else "jobs/"


def ingest_listed(user_hash: str | None, job: str, begun_at: datetime) -> str:
    """In the results bucket: names a job of this user. The latest stands first."""
    left_ms = _LAST_MS - int(begun_at.timestamp() * 1000)
    return f"{ingest_lists(user_hash)}{left_ms:013d}-{job}"


def ingest_calls() -> str:
    """Prefix of the webhooks that are still to be asked for at the end of a job."""
    return "callbacks/ingests/"


def ingest_call(job: str) -> str:
    return f"{ingest_calls()}{job}.json"


def damaged(key: str) -> str:
    """In the archive bucket: what lay at a key before the sweep wrote it anew."""
    return f"damaged/{key}"


def log_archive(month: str = "", name: str = "") -> str:
    """In the archive bucket: a file of a month of the audit log, `2026-01`; or the
    prefix of a month, or of all.
    """
    return f"log/{month}/{name}" if month else "log/"


def ticket(ticket: str) -> str:
    """In the bucket for access: what a ticket with an `Idempotency-Key` was drawn for."""
    return f"tickets/{ticket}.json"


def plain(name: str) -> str:
    """A name in plain characters; empty where nothing is left of it."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)[-120:].lstrip(".")


def filename(source_key: str) -> str:
    return source_key.rstrip("/").rpartition("/")[2]
