"""`darkroom tasks`, `darkroom task ID`: the log, read through the HTTP API; `darkroom
task rerun ID`: a photo restored again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table
from typer.core import TyperGroup

from infra.client import DarkroomClient, TaskRow
from infra.commands.become import become
from infra.commands.no_stack import no_stack
from infra.commands.options import JsonLinesOption, JsonOption
from infra.terminal import shown
from shared.runtime.connection import Connection

app = typer.Typer(add_completion=False)
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
    with connected() as client:
        rows = client.tasks(limit=limit, status=status, user=user)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    Console(
        width=None if sys.stdout.isatty() else WIDTH, highlight=False, markup=False
    ).print(_table(rows))


class OneTask(TyperGroup):
    """`darkroom task ID` shows a task; a first word that is a command is that."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "--help"):
            args = ["show", *args]
        return super().parse_args(ctx, args)


one = typer.Typer(
    cls=OneTask,
    add_completion=False,
    no_args_is_help=True,
    help="One task: its rows and its events; or its photo restored again.",
)
app.add_typer(one, name="task")


@one.command()
def rerun(
    task_ids: Annotated[
        list[str], typer.Argument(metavar="ID…", help="Tasks that are done.")
    ],
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="Compare each pixel with the result, bit by bit."
        ),
    ] = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Restore photos again, here and now, storing nothing; exit status 1 where one
    differs from its result.
    """
    # The base install, which reads the log, has no library for this.
    from infra.commands.require_stack import need_servers

    wanted = [str(_uuid(task_id)) for task_id in task_ids]
    need_servers()
    become(
        "gpu_worker",
        "rerun",
        *wanted,
        *(["--compare"] if compare else []),
        as_json=as_json,
    )


@one.command("show")
def task(
    task_id: Annotated[
        str, typer.Argument(help="The task's id, as `darkroom tasks` shows it.")
    ],
    as_json: JsonOption = False,
) -> None:
    """One task: its rows and its events."""
    wanted = str(_uuid(task_id))
    with connected() as client:
        found = client.task(wanted)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    console = Console(highlight=False, markup=False)
    for row in found["uploads"]:
        for name, value in row.items():
            for line in _lines(value):
                console.print(f"{name:20} {shown(line)}")
        console.print()
    for event in found["events"]:
        console.print(
            f"{shown(event['at'])}  {shown(event['kind']):10}  {shown(event['upload_id'])}"
        )


def _lines(value: object) -> list[object]:
    """What is shown of one column: nothing of an empty one, and a line for each step
    that was skipped.
    """
    if value is None:
        return []
    if isinstance(value, dict) and all(
        isinstance(text, str) for text in value.values()
    ):
        return [f"{name}: {text}" for name, text in value.items()]
    return [value]


@contextmanager
def connected() -> Iterator[DarkroomClient]:
    """A client of the running stack's API, or of the one that the environment names.

    Raises `SettingsError` where there is neither.
    """
    connection = Connection.load()
    if not connection.api_url:
        raise no_stack(
            connection.state_dir,
            ", or name an API by DARKROOM_API_URL and DARKROOM_API_KEY",
        )
    with DarkroomClient(connection.api_url, connection.api_key, retry_s=0) as client:
        yield client


def _table(rows: list[TaskRow]) -> Table:
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
        table.add_row(*(shown(cell or "") for cell in _cells(row)))
    return table


def _cells(row: TaskRow) -> tuple[str | None, ...]:
    """The row's cells, in the order of the table's columns."""
    seconds = row["duration_seconds"]
    return (
        row["upload_time"][:16].replace("T", " "),
        _status(row),
        row["workflow_type"],
        row["image_filename"],
        f"{row['width']}×{row['height']}" if row["width"] else "",
        "" if seconds is None else f"{seconds:.1f}",
        row["task_id"],
    )


def _status(row: TaskRow) -> str:
    """The status, with the code of what went wrong."""
    if row["error_code"] is None:
        return row["status"]
    return f"{row['status']}: {row['error_code']}"


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is not a task's id; `darkroom tasks` shows them"
        ) from error
