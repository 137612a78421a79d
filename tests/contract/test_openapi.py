"""The OpenAPI document, held against the running API by schemathesis: no 5xx, no answer
that the document denies.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
import uvicorn
from fastapi import FastAPI

from handlers.http.api import feed
from infra.local.stack import Stack
from tests.contract.test_authorisation import Town
from tests.support.quick_reports import fake_reports
from tests.support.waiting import eventually


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The app behind a real socket."""
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_config=None, access_log=False)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        eventually(lambda: server.started, "the server listens")
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


RULES = """
[checks.positive_data_acceptance]
# What no schema can say (a workflow's parameters, a page's cursor, where a callback may go) is refused with 422.
expected-statuses = ["2xx", "3xx", "401", "403", "404", "409", "422", "429"]

[[operations]]
# A task that was begun has no draft yet, and none once it has ended.
include-path = "/v1/tasks/{task_id}/draft"
checks.ensure_resource_availability.enabled = false
"""
OWN = """
[parameters]
"path.task_id" = "{task_id}"
"path.ticket" = "{ticket}"
"path.job" = "{job}"

[[operations]]
include-method = "DELETE"
parameters = {{ "path.task_id" = "{other}" }}
"""


Who = Literal["operator", "user"]
"""The operator asks for what is not there, the user for a photo and a ticket that are."""


@pytest.fixture
def town(servers: Stack, monkeypatch: pytest.MonkeyPatch) -> Town:
    """Everybody, where no answer takes long."""
    monkeypatch.setattr(feed, "LONGEST_POLLS", 1)
    fake_reports(monkeypatch)
    return Town(servers)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("who", ["operator", "user"])
def test_no_request_is_answered_otherwise_than_the_document_says(
    town: Town, tmp_path: Path, who: Who
) -> None:
    """Its examples, and the limits of every parameter. Requests made up at random take
    longer: `tests/long/test_openapi_at_random.py`.
    """
    hold(town, who, "examples,coverage", tmp_path)


def hold(town: Town, who: Who, phases: str, tmp_path: Path, examples: int = 1) -> None:
    """Hold the document against the API; `examples` of each route in the phases that
    make them up.
    """
    key = town.operator if who == "operator" else town.token(town.ann, lasts_s=3000)
    own = OWN.format(**town.own(), other=town.own()["task_id"]) if who == "user" else ""
    (tmp_path / "schemathesis.toml").write_text(RULES + own)
    with serving(town.app) as url:
        command = [
            sys.executable,
            "-m",
            "schemathesis.cli",
            "run",
            f"{url}/openapi.json",
            "-H",
            f"Authorization: Bearer {key}",
            "--phases",
            phases,
            "--max-examples",
            str(examples),
            "--generation-deterministic",
            "--no-color",
            "--request-timeout",
            "120",
            "--max-response-time",
            "120",
        ]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=850,
        )
    assert done.returncode == 0, done.stdout
    print(
        *[
            line
            for line in done.stdout.splitlines()
            if "generated" in line or "tested:" in line.lower()
        ]
    )
