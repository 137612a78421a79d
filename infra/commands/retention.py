"""`darkroom retention`: one run of the rules of retention."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.commands.become import become
from infra.commands.options import JsonOption
from infra.commands.require_stack import need_servers

app = typer.Typer(add_completion=False)


@app.command()
def retention(
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Change nothing, count what would be deleted."),
    ] = False,
    lifecycle: Annotated[
        bool,
        typer.Option(
            "--lifecycle", help="Print lifecycle rules for stores that have them."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete what the rules of DARKROOM_RETENTION_RULES cover, now: the sweep does it
    once a day.
    """
    need_servers()
    options = ["--dry-run"] if dry_run else []
    options += ["--lifecycle"] if lifecycle else []
    become("handlers", "retention", *options, as_json=as_json)
