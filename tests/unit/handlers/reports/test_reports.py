"""The figures as a page, as PDF, CSV and Parquet: whatever a name holds, neither obeys it."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

from handlers.audit_log.columns import Row
from handlers.audit_log.statistics import (
    Burst,
    Day,
    Duplicates,
    Failure,
    Outcomes,
    Seconds,
    Size,
    Statistics,
    UserFigures,
    WorkflowShare,
    named,
)
from handlers.reports import charts, stats_cli
from handlers.reports.html_report import html_report
from handlers.reports.parquet import write_parquet
from handlers.reports.stats_sheet import MOST_ROWS, pdf_report
from handlers.reports.tables import tables, write_csv
from tests.support.extras import needs

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
HOSTILE = '=<script>alert("1")</script>'
COUNTS = {
    "uploads": 10,
    "success": 7,
    "duplicate": 1,
    "failed": 1,
    "rejected": 0,
    "withdrawn": 0,
    "waiting": 1,
    "success_rate": 0.875,
}


@pytest.fixture
def found() -> Statistics:
    """Figures of everything; the workflow and a file have names that could be obeyed."""
    row = Row(
        upload_id="0b0e7f1c-2f54-5b0e-8f0a-6c1d2e3f4a5b",
        upload_time=NOW,
        status="success",
        image_filename=HOSTILE,
    )
    user = UserFigures(
        user="ab" * 32,
        uploads=10,
        restored=7,
        duplicates=1,
        without_result=1,
        megapixels=12.5,
        bytes=1000,
        seconds=3.5,
    )
    return Statistics(
        since=NOW,
        until=None,
        user="ab" * 32,
        total=Outcomes(**COUNTS),
        workflows=[WorkflowShare(**COUNTS, workflow=HOSTILE, share=1.0)],
        days=[Day(day=date(2026, 3, 15), uploads=10, success=7, failed=1)],
        sizes=[Size(megapixels=None, scale=4, model_size=None, uploads=10, share=1.0)],
        failures=[
            Failure(
                error_code="out_of_memory",
                megapixels="8 to 16",
                concurrency=3,
                memory_gib="under 1",
                device="cuda:0",
                failures=1,
                ended=2,
                rate=0.5,
            )
        ],
        seconds=[
            Seconds(
                workflow=HOSTILE,
                megapixels=None,
                photos=7,
                mean_s=1,
                p50_s=0,
                p95_s=2,
                p99_s=30,
                waited_p95_s=None,
            )
        ],
        duplicates=Duplicates(uploads=1, saved_s=1.0),
        bursts=[Burst(minute=NOW, uploads=10, users=1)],
        users=[user],
        last=[row],
    )


def test_the_page_runs_nothing_and_says_every_chart_in_words(found: Statistics) -> None:
    page = html_report(found)
    assert "<script" not in page
    assert "default-src 'none'" in page
    body = page[page.index("<main>") : page.index("</main>")]
    root = ElementTree.fromstring(f"{body}</main>")
    charts = root.findall(".//svg")
    assert len(charts) == 5
    assert all(
        chart.get("role") == "img" and chart.get("aria-label") for chart in charts
    )
    assert len(root.findall(".//table")) == len(tables(found)) == 10


def test_a_cause_by_which_nothing_failed_is_said(
    found: Statistics, capsys: pytest.CaptureFixture[str]
) -> None:
    stats_cli._print(found.model_copy(update={"failures": []}), is_cause=True)
    assert capsys.readouterr().out == "no photo failed by this cause in that time\n"


def test_an_empty_period_is_a_page_too(found: Statistics) -> None:
    nothing = dict.fromkeys(COUNTS, 0) | {"success_rate": None}
    lists = [
        name for name, value in found.model_dump().items() if isinstance(value, list)
    ]
    empty = found.model_copy(
        update={"total": Outcomes(**nothing), **{name: [] for name in lists}}
    )
    assert "none has ended yet" in html_report(empty)


def test_csv_has_a_file_a_table_and_no_formula(
    found: Statistics, tmp_path: Path
) -> None:
    write_csv(found, tmp_path / "new")
    names = {path.stem for path in (tmp_path / "new").iterdir()}
    assert names == {each.name for each in tables(found)}
    (row,) = _read(tmp_path / "new" / "last.csv")
    assert row["image_filename"] == "'" + HOSTILE
    (failure,) = _read(tmp_path / "new" / "failures.csv")
    assert (failure["error_code"], failure["rate"]) == ("out_of_memory", "0.5")


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_pdf_says_all_that_the_page_says(found: Statistics) -> None:
    """Every table below its chart, one that is too long cut, and what was left out named."""
    needs("typst", "report")
    needs("pypdf", "archive")
    import pypdf

    days = [found.days[0]] * (MOST_ROWS + 2)
    data = pdf_report(found.model_copy(update={"days": days}), NOW)
    pages = pypdf.PdfReader(io.BytesIO(data)).pages
    text = "".join(page.extract_text() for page in pages)
    words = "".join(text.replace("\u200b", "").split())
    for each in tables(found):
        assert "".join(each.title.split()) in words
    assert "".join(HOSTILE.split()) in words
    assert "out_of_memory:8to16MP" in words
    assert "2morerows" in words


def test_parquet_has_a_file_a_table_with_types(
    found: Statistics, tmp_path: Path
) -> None:
    """And names as they are: nobody reads them as formulas."""
    needs("duckdb", "lake")
    import duckdb

    write_parquet(found, tmp_path / "new")
    names = {path.stem for path in (tmp_path / "new").iterdir()}
    assert names == {each.name for each in tables(found)}
    ((at, users),) = duckdb.sql(
        f"SELECT minute, users FROM '{tmp_path}/new/bursts.parquet'"
    ).fetchall()
    assert (at, users) == (NOW, 1)
    ((workflow,),) = duckdb.sql(
        f"SELECT workflow FROM '{tmp_path}/new/workflows.parquet'"
    ).fetchall()
    assert workflow == HOSTILE


def test_a_chart_is_xml_whatever_a_name_holds() -> None:
    """Typst reads no other."""
    name = "a\x00\x1b[31m\x7f\ud800\ufffe<![CDATA["
    drawn = charts.bars("t", name, [charts.Bar(name, 1, name)])
    text = "".join(ElementTree.fromstring(charts.standalone(drawn)).itertext())
    assert text.count("a\ufffd\ufffd[31m\x7f\ufffd\ufffd<![CDATA[") == 3


def test_classes_in_words() -> None:
    bounds = [0.5, 1.0, 2.0]
    words = [named(place, bounds) for place in (None, 0, 1, 2, 3)]
    assert words == [None, "under 0.5", "0.5 to 1", "1 to 2", "over 2"]
