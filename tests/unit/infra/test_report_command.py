"""`darkroom report`: of a task or a job, shown or written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from infra import client
from infra.cli import main
from infra.commands.report import app

IDENT = "0b0e7f1c-2f54-5b0e-8f0a-6c1d2e3f4a5b"
ATTACK = "a\x1b[2J\u202e.png"
REPORT: dict[str, Any] = {
    "status": "success",
    "photo": {"name": ATTACK, "page": None},
    "steps": [{"step": "repair", "skipped": {"code": "whole"}}],
    "notes": [],
}


class Api:
    """An API that knows one task or one job, and keeps what was asked."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        if not request.url.path.startswith(f"/v1/{self.kind}/"):
            problem = {"code": "not_found", "detail": "no such thing"}
            return httpx.Response(404, json=problem)
        if request.url.path.endswith(".pdf"):
            return httpx.Response(200, content=b"%PDF-1.7")
        return httpx.Response(200, json=REPORT)


@pytest.fixture
def api(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Api:
    found = Api(request.param)
    made = httpx.Client
    transport = httpx.MockTransport(found)
    monkeypatch.setattr(
        client.httpx, "Client", lambda **given: made(**given, transport=transport)
    )
    monkeypatch.setenv("DARKROOM_API_URL", "http://api.example")
    monkeypatch.setenv("DARKROOM_API_KEY", "k")
    return found


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, [IDENT, *arguments])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("api", ["tasks", "ingests"], indirect=True)
def test_a_report_is_shown_and_strangers_names_cannot_move_the_cursor(api: Api) -> None:
    out = run()
    assert "repair" in out
    assert "whole" in out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert json.loads(run("--json")) == REPORT


@pytest.mark.parametrize("api", ["tasks", "ingests"], indirect=True)
def test_a_pdf_is_written_whole(api: Api, tmp_path: Path) -> None:
    to = tmp_path / "grandma.pdf"
    assert str(to) in run("--pdf", str(to), "--lang", "zh").replace("\n", "")
    assert to.read_bytes() == b"%PDF-1.7"
    assert api.asked[-1].endswith(f"/v1/{api.kind}/{IDENT}/report.pdf?lang=zh")


@pytest.mark.parametrize("api", ["nothing"], indirect=True)
def test_an_id_of_nothing_is_said(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["darkroom", "report", IDENT])
    with pytest.raises(SystemExit):
        main()
    assert f"no task and no job {IDENT}" in capsys.readouterr().err
