"""Reports about one task, and how they stand on paper."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest

from gpu_worker import gates
from handlers.reports import task_report
from handlers.reports.task_report import TaskReport
from handlers.reports.task_sheet import sheet_of
from handlers.reports.words import Language, words
from shared.uploads.documents import (
    Plan,
    PlannedStep,
    Receipt,
    Record,
    Skipped,
    StepTime,
)
from shared.workflows.schema import StepKind
from tests.support.records import record_of
from tests.support.upload_world import World, photo

AT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
LANGUAGES: tuple[Language, ...] = get_args(Language)
SKIPPED = Skipped(
    code="whole", because="no scratches", measured={"scratches": 0, "scratched_from": 1}
)


@pytest.fixture(scope="module")
def receipt() -> Receipt:
    world = World()
    return world.receipt(world.upload("奶奶.png", photo()))


def record(receipt: Receipt, **changes: Any) -> Record:
    made: dict[str, Any] = {
        "steps": [
            StepTime(step="repair", seconds=0, skipped=SKIPPED),
            StepTime(step="upscale", seconds=2, model="realesrgan-x4plus"),
        ],
        "plan": Plan(
            gates=2,
            look={"noise": 0.71, "faces": None, "haze": 0.2, "tone": 1.0},
            steps=[PlannedStep(step="upscale", params={"scale": 2.0})],
        ),
    }
    return record_of(receipt, AT, **made | changes)


def report(receipt: Receipt, **changes: Any) -> TaskReport:
    return task_report.of_record(record(receipt, **changes), [], AT)


def test_a_skipped_step_has_its_reason_and_no_time(receipt: Receipt) -> None:
    repair, upscale = report(receipt).steps
    assert repair.seconds is None
    assert repair.skipped == SKIPPED
    assert upscale.params == {"scale": 2.0}
    assert upscale.model == "realesrgan-x4plus"


def test_of_another_version_of_a_workflow_no_default_is_claimed(
    receipt: Receipt,
) -> None:
    assert receipt.workflow is not None
    earlier = receipt.workflow.model_copy(update={"version": 0})
    workflow = report(receipt, workflow=earlier).workflow
    assert workflow is not None
    assert {each.default for each in workflow.params} == {None}


@pytest.mark.parametrize(
    ("api_url", "found"),
    [
        ("", None),
        ("http://127.0.0.1:8080", None),
        ("http://localhost:8080", None),
        ("http://[::1]:8080", None),
        ("https://photos.example/", "https://photos.example/console/#/report/x"),
    ],
)
def test_a_link_is_given_where_others_can_follow_it(
    api_url: str, found: str | None
) -> None:
    assert task_report.console_url(api_url, "report/x") == found


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_sheet_has_every_fact_in_its_language(
    receipt: Receipt, language: Language
) -> None:
    made = sheet_of(report(receipt), words(language))
    cells = [cell for table in made.tables for row in table.rows for cell in row]
    assert made.title == "奶奶.png"
    assert made.tone == "good"
    assert receipt.source.sha256 in cells
    assert "ab" * 32 in cells
    because = {"en": "Left out: there are no scratches", "zh": "跳过：没有确定的划痕"}
    assert any(cell.startswith(because[language]) for cell in cells)
    # Figures that were not measured are left out.
    assert "faces" not in cells


def test_what_is_not_as_usual_is_marked_and_what_is_long_is_cut(
    receipt: Receipt,
) -> None:
    assert receipt.workflow is not None
    params = {**receipt.workflow.params, "scale": 2.0, "mask": "M 1 1 " * 500}
    changed = receipt.workflow.model_copy(update={"params": params})
    made = sheet_of(report(receipt, workflow=changed), words("en"))
    settings = {row[0]: row[1] for row in made.tables[0].rows}
    assert settings["Enlarge"] == "2 *"
    assert len(settings["mask"]) < 200


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_step_and_every_gate_has_its_words(language: Language) -> None:
    codes = re.findall(r'code="(\w+)"', Path(gates.__file__).read_text())
    assert len(codes) > 5
    keys = {f"skip.{code}" for code in codes}
    keys |= {f"step.{step}" for step in get_args(StepKind)}
    assert keys <= words(language).sentences.keys()
