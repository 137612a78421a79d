"""`darkroom tasks`, `darkroom task ID`: the log, read through the HTTP API."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any
from uuid import UUID

import httpx
import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table

from infra.commands.require_stack import no_stack
from infra.terminal import shown
from shared.errors import Code, NotFound, SettingsError, TransientError
from shared.runtime.settings import Settings

app = typer.Typer(add_completion=False)
JsonOption = Annotated[bool, typer.Option("--json", help="Nothing but JSON on stdout.")]
WIDTH = 120
"""Where no terminal says how wide it is."""


@app.command()
def tasks(
    user: Annotated[
        str | None, typer.Option(help="Only this user's, by the user's hash.")
    ] = None,
    status: Annotated[
        str | None, typer.Option(help="One status: queued, success, failed, …")
    ] = None,
    limit: Annotated[int, typer.Option(help="Most rows.", min=1, max=1000)] = 20,
    as_json: JsonOption = False,
) -> None:
    """The latest rows of the log, newest first."""
    rows = _get("/v1/tasks", {"user": user, "status": status, "limit": limit})["items"]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    Console(
        width=None if sys.stdout.isatty() else WIDTH, highlight=False, markup=False
    ).print(_table(rows))


@app.command()
def task(
    task_id: Annotated[
        str, typer.Argument(help="The task's id, as `darkroom tasks` shows it.")
    ],
    as_json: JsonOption = False,
) -> None:
    """One task: its rows and its events."""
    found = _get(f"/v1/tasks/{_uuid(task_id)}", {})
    if as_json:
        print(json.dumps(found, indent=2))
        return
    console = Console(highlight=False, markup=False)
    for row in found["uploads"]:
        for name, value in row.items():
            if value is not None:
                console.print(f"{name:20} {shown(value)}")
        console.print()
    for event in found["events"]:
        console.print(
            f"{shown(event['at'])}  {shown(event['kind']):10}  {shown(event['upload_id'])}"
        )


def _get(path: str, params: dict[str, Any]) -> dict[str, Any]:
    """Raises `NotFound`, `SettingsError` (no stack, wrong key) and `TransientError`
    with the API's own sentence.
    """
    settings = Settings.load()
    if not settings.api_url:
        raise no_stack(settings)
    given = {name: value for name, value in params.items() if value is not None}
    key = settings.api_key.get_secret_value()
    try:
        answer = httpx.get(
            settings.api_url + path,
            params=given,
            headers={"Authorization": f"Bearer {key}"},
        )
    except httpx.HTTPError as error:
        detail = f"{settings.api_url} does not answer; `darkroom status` says what runs"
        raise TransientError(Code.INTERNAL, detail) from error
    if answer.is_success:
        found: dict[str, Any] = answer.json()
        return found
    detail = answer.json().get("detail", answer.reason_phrase)
    if answer.status_code == 404:
        raise NotFound(Code.SOURCE_MISSING, detail)
    if answer.status_code < 500:
        raise SettingsError(detail)
    raise TransientError(Code.DATABASE_UNAVAILABLE, detail)


def _table(rows: list[dict[str, Any]]) -> Table:
    """Whole ids, however narrow the terminal: they are what `darkroom task` asks for."""
    names = ("uploaded", "status", "workflow", "photo", "size", "s")
    columns = [Column(name, overflow="fold") for name in names]
    table = Table(
        *columns,
        Column("task", no_wrap=True),
        box=SIMPLE,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for row in rows:
        seconds, at = row["duration_seconds"], row["upload_time"][:16].replace("T", " ")
        status = ": ".join(filter(None, (row["status"], row["error_code"])))
        size = f"{row['width']}×{row['height']}" if row["width"] else ""
        taken = f"{seconds:.1f}" if seconds is not None else ""
        cells = (
            at,
            status,
            row["workflow_type"],
            row["image_filename"],
            size,
            taken,
            row["task_id"],
        )
        table.add_row(*(shown(cell or "") for cell in cells))
    return table


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is not a task's id; `darkroom tasks` shows them"
        ) from error
