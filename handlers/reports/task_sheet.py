"""The report about one task as a sheet of paper."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from handlers.reports import sheet
from handlers.reports.sheet import Fact, Picture, Sheet, Table, Tone
from handlers.reports.task_report import (
    Happening,
    MachineFacts,
    Moment,
    StepFacts,
    TaskReport,
    WorkflowFacts,
)
from handlers.reports.words import Words

BEFORE, AFTER = "before", "after"
"""Names of the pictures."""
TONES: dict[str, Tone] = {
    "success": "good",
    "duplicate": "good",
    "failed": "bad",
    "rejected": "bad",
}
HAPPENINGS: dict[Happening, str] = {
    "received": "rep.received",
    "queued": "rep.queued",
    "attempt": "rep.attempt",
    "finished": "rep.finished",
}
AI_KEYWORD = "AI-assisted restoration"
UNUSUAL = "*"
"""Marks a parameter that is not as the workflow has it by default."""


def sheet_of(report: TaskReport, words: Words) -> Sheet:
    """The sheet of a report, in the language of `words`."""
    workflow = report.workflow
    subtitle = str(report.task_id)
    if workflow:
        scene = words.find(f"scene.{workflow.name}", workflow.name)
        subtitle = f"{scene} · {workflow.name} {workflow.version} · {subtitle}"
    return Sheet(
        language=words.language,
        kicker=words("rep.title"),
        title=sheet.cut(report.photo.name, sheet.MOST_NAME),
        ident=str(report.task_id),
        subtitle=subtitle,
        status=words(f"rep.is.{report.status}"),
        tone=TONES.get(report.status, "busy"),
        made_at=report.made_at,
        made=sheet.moment(report.made_at),
        foot=words("res.honest") if report.result else "",
        facts=list(_facts(report, words)),
        pictures=list(_pictures(report, words)),
        tables=[table for table in _tables(report, words) if table.rows],
        notes_title=words("rep.notes"),
        notes=list(_notes(report, words)),
        signature=workflow.signature if workflow else "",
        signature_title=words("rep.signature"),
        signature_says=words("rep.signature.s"),
        url=report.console_url or "",
        keywords=[AI_KEYWORD, str(report.task_id)],
    )


def _pictures(report: TaskReport, words: Words) -> Iterator[Picture]:
    photo, result = report.photo, report.result
    kind = (photo.format or "").upper()
    about = (sheet.pixels(photo.width, photo.height), kind, sheet.size(photo.bytes))
    detail = " · ".join(filter(None, about))
    yield Picture(BEFORE, words("before"), detail, words("rep.original"))
    if result:
        size = sheet.pixels(result.width, result.height)
        detail = f"{size} · PNG · {sheet.size(result.bytes)}"
        yield Picture(AFTER, words("after"), detail, words("rep.none"))


def _facts(report: TaskReport, words: Words) -> Iterator[Fact]:
    photo, result, machine = report.photo, report.result, report.machine
    if result and photo.width and photo.height:
        # By the longer sides: the photo may lie on its side.
        scale = max(result.width, result.height) / max(photo.width, photo.height)
        yield Fact(words("rep.scale"), f"{scale:.3g} ×")
        before = photo.width * photo.height / 1e6
        after = result.width * result.height / 1e6
        yield Fact(words("rep.pixels"), f"{before:.2g} → {after:.2g} MP")
    if machine:
        yield from _of_machine(machine, words)
    if report.attempts:
        yield Fact(words("rep.attempts"), str(report.attempts))


def _of_machine(machine: MachineFacts, words: Words) -> Iterator[Fact]:
    memory = machine.peak_device_memory_bytes or machine.peak_memory_bytes
    yield Fact(words("rep.took"), sheet.seconds(machine.duration_seconds))
    yield Fact(words("rep.memory"), sheet.size(memory))
    yield Fact(words("rep.device"), f"{machine.device} · {machine.engine}")


def _tables(report: TaskReport, words: Words) -> Iterator[Table]:
    if report.workflow:
        yield _params(report.workflow, words)
    timeline = list(_timeline(report.timeline, words))
    yield Table(
        words("rep.timeline"), (words("rep.when"), words("rep.what")), timeline, "half"
    )
    yield Table(
        words("rep.steps"),
        (words("rep.step"), words("rep.did"), words("rep.seconds")),
        [_step(step, words) for step in report.steps],
    )
    if report.look:
        gates = words("rep.gates", report.look.gates)
        looked = words("rep.look")
        title = f"{looked}, {gates}"
        figures = _figures(report.look.figures, words)
        yield Table(title, (words("rep.name"), words("rep.value")) * 2, figures)
    head = (words("rep.file"), words("rep.name"), words("rep.sha"))
    yield Table(words("rep.sums"), head, list(_sums(report, words)), "sums")


def _params(workflow: WorkflowFacts, words: Words) -> Table:
    rows = []
    for each in workflow.params:
        shown = sheet.value(words, each.value)
        usual = "" if each.default is None else sheet.value(words, each.default)
        is_changed = usual != "" and each.value != each.default
        name = words.find(f"param.{each.name}", each.name)
        rows.append((name, f"{shown} {UNUSUAL}" if is_changed else shown, usual))
    head = (words("rep.name"), words("rep.value"), words("rep.usual"))
    return Table(words("rep.settings"), head, rows, "half")


def _timeline(moments: list[Moment], words: Words) -> Iterator[tuple[str, str]]:
    for each in moments:
        yield sheet.moment(each.at), words(HAPPENINGS[each.what], each.attempt or "?")


def _step(step: StepFacts, words: Words) -> tuple[str, str, str]:
    name = words.find(f"step.{step.step}", step.step)
    if step.skipped:
        because = words.find(f"skip.{step.skipped.code}", step.skipped.because)
        measured = _listed(step.skipped.measured, words)
        return name, words("rep.skipped", f"{because} ({measured})"), ""
    told = [step.model or "", _listed(step.params | step.detail, words)]
    took = "" if step.seconds is None else sheet.seconds(step.seconds)
    return name, "; ".join(filter(None, told)), took


def _listed(given: dict[str, Any], words: Words) -> str:
    return ", ".join(
        f"{name} {sheet.value(words, value)}" for name, value in given.items()
    )


def _figures(figures: dict[str, Any], words: Words) -> list[tuple[str, ...]]:
    """Two figures a row."""
    known = [
        (name, sheet.value(words, figure))
        for name, figure in figures.items()
        if figure is not None
    ]
    if len(known) % 2:
        known.append(("", ""))
    return [
        (*left, *right) for left, right in zip(known[::2], known[1::2], strict=True)
    ]


def _sums(report: TaskReport, words: Words) -> Iterator[tuple[str, str, str]]:
    photo = report.photo
    if photo.sha256:
        name = sheet.cut(photo.name, 40)
        yield words("rep.sum.original"), name, photo.sha256
    for model in report.models:
        yield words("rep.model"), model.name, model.sha256
    if report.result:
        size = sheet.size(report.result.bytes)
        yield words("rep.sum.result"), size, report.result.sha256
    for copy in report.copies:
        kind = "labelled" if copy.labelled else "copy"
        name = words(f"rep.sum.{kind}", copy.format.upper())
        yield name, sheet.size(copy.bytes), copy.sha256


def _notes(report: TaskReport, words: Words) -> Iterator[str]:
    if report.error:
        error = report.error
        sentence = words.find(f"error.{error.code}", error.detail)
        because = words("rep.error")
        yield f"{because}: {sentence} ({error.code})"
    if report.result and report.result.mask:
        yield words("rep.mask")
    yield from report.notes
    if report.machine:
        yield report.machine.software
