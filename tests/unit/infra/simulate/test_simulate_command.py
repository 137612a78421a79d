"""`darkroom simulate`: what it takes, what it prints, and the page that it writes."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from infra.commands.simulate import app
from infra.simulate import arrivals
from shared.errors import PermanentError


def test_an_archive_by_night_and_an_app_by_day_are_simulated_and_drawn(
    tmp_path: Path,
) -> None:
    page = tmp_path / "page.html"
    command = ["--per-day", "300", "--archive", "500", "--json", "--plot", str(page)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    figures = json.loads(done.output)
    assert 700 < figures["photos"] < 900
    assert figures["cost"] == figures["worker_hours"]
    assert figures["wait_p50_s"] <= figures["wait_p95_s"] <= figures["wait_p99_s"]
    text = page.read_text()
    picture = text[text.index("<svg") : text.index("</svg>") + len("</svg>")]
    assert len(list(ElementTree.fromstring(picture).iter("polyline"))) == 2


def test_a_trace_has_times_and_seconds_of_work(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("2026-01-01 10:00:05+00,3\n2026-01-01T10:00:00,\n\n1767261610\n")
    photos = arrivals.recorded(trace)
    assert [(photo.at_s, photo.service_s) for photo in photos] == [
        (5.0, 3.0),
        (0.0, None),
        (10.0, None),
    ]


@pytest.mark.parametrize(
    "text", ["", "yesterday\n", "5,much\n", "5,nan\n", "inf\n", "5,-1\n"]
)
def test_a_trace_that_is_none_is_refused_with_its_line(
    tmp_path: Path, text: str
) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text(text)
    with pytest.raises(PermanentError, match="line 1" if text else "no photo"):
        arrivals.recorded(trace)


@pytest.mark.parametrize(
    ("command", "word"),
    [([], "--trace"), (["--per-day", "1", "--min", "9"], "--max")],
)
def test_what_makes_no_sense_is_wrong_usage(command: list[str], word: str) -> None:
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2
    assert word in done.output
