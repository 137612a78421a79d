"""The report about a batch of photos as a sheet of paper."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from handlers.audit_log.columns import Row
from handlers.reports import sheet
from handlers.reports.sheet import Fact, Picture, Sheet, Table
from handlers.reports.task_sheet import AI_KEYWORD
from handlers.reports.words import Words
from shared.uploads.ingests import IngestJob
from shared.uploads.messages import Status

MOST_PICTURES = 12
MOST_ROWS = 500
"""Photos that a table names; `GET /v1/ingests/{job}/items` has them all."""
MOST_NAME = 60
COLUMNS = 4
PICTURE_HEIGHT_MM = 42
RUNNING: tuple[Status, ...] = ("queued", "processing")


@dataclass(frozen=True)
class JobFacts:
    """What is known of a job, read at one time. `restored` and `failed` are at most one
    more than a table names.
    """

    job: IngestJob
    counts: Mapping[Status, int]
    sent: int
    unsent: int
    skipped: int
    is_finished: bool
    restored: Sequence[Row]
    failed: Sequence[Row]
    url: str | None = None


def sheet_of(facts: JobFacts, words: Words, at: datetime) -> Sheet:
    """The sheet of a job, in the language of `words`, made `at` this time."""
    job = facts.job
    scene = words.find(f"scene.{job.workflow.name}", job.workflow.name)
    state = "finished" if facts.is_finished else "processing"
    return Sheet(
        language=words.language,
        kicker=words("rep.job"),
        title=sheet.cut(job.name, sheet.MOST_NAME),
        ident=job.job,
        subtitle=f"{scene} · {job.workflow.name} {job.workflow.version} · {job.job}",
        status=words(f"rep.is.{state}"),
        tone="good" if facts.is_finished else "busy",
        made_at=at,
        made=sheet.moment(at),
        foot=words("res.honest"),
        columns=COLUMNS,
        picture_height=PICTURE_HEIGHT_MM,
        facts=_facts(facts, words),
        pictures=[
            Picture(
                str(row.task_id),
                sheet.cut(row.image_filename or "", MOST_NAME // 2),
                missing=words("rep.none"),
            )
            for row in facts.restored[:MOST_PICTURES]
        ],
        tables=[table for table in _tables(facts, words) if table.rows],
        notes_title=words("rep.notes"),
        notes=list(_notes(facts, words)),
        signature=job.workflow.signature,
        signature_title=words("rep.signature"),
        signature_says=words("rep.signature.s"),
        url=facts.url or "",
        keywords=[AI_KEYWORD, job.job],
    )


def _facts(facts: JobFacts, words: Words) -> list[Fact]:
    photos = sum(facts.counts.values())
    ended = photos - sum(facts.counts.get(status, 0) for status in RUNNING)
    return [
        Fact(words("rep.begun"), sheet.moment(facts.job.begun_at)),
        Fact(words("rep.photos"), words("rep.ended", f"{ended:,}", f"{photos:,}")),
    ]


def _tables(facts: JobFacts, words: Words) -> Iterator[Table]:
    counted = [
        (words(f"rep.is.{status}"), f"{count:,}")
        for status, count in sorted(facts.counts.items())
    ]
    params = [
        (words.find(f"param.{name}", name), sheet.value(words, value))
        for name, value in facts.job.workflow.params.items()
    ]
    yield Table(
        words("rep.counts"), (words("rep.what"), words("rep.count")), counted, "half"
    )
    yield Table(
        words("rep.settings"), (words("rep.name"), words("rep.value")), params, "half"
    )
    yield Table(
        words("rep.failed"),
        (words("rep.name"), words("rep.why"), words("rep.code")),
        [_failed(row, words) for row in facts.failed[:MOST_ROWS]],
    )
    yield Table(
        words("rep.results"),
        (words("rep.name"), words("rep.pixels"), words("rep.sum.original")),
        [_restored(row) for row in facts.restored[:MOST_ROWS]],
        "sums",
    )


def _failed(row: Row, words: Words) -> tuple[str, str, str]:
    code = row.error_code or ""
    why = words.find(f"error.{code}", row.error_detail or "")
    return sheet.cut(row.image_filename or "", MOST_NAME), why, code


def _restored(row: Row) -> tuple[str, str, str]:
    name = sheet.cut(row.image_filename or "", MOST_NAME)
    return name, sheet.pixels(row.width, row.height), row.sha256 or ""


def _notes(facts: JobFacts, words: Words) -> Iterable[str]:
    if facts.unsent or facts.skipped:
        yield words("rep.unsent", facts.unsent, facts.skipped)
    if max(len(facts.restored), len(facts.failed)) > MOST_ROWS:
        yield words("rep.more", f"{MOST_ROWS:,}")
