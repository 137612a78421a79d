"""`darkroom stats`: what the audit log says of a period."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.commands.become import become
from infra.commands.options import JsonOption
from infra.commands.require_stack import need_servers

app = typer.Typer(add_completion=False)


@app.command()
def stats(
    days: Annotated[
        int, typer.Option(help="How far back to look.", min=1, max=36_500)
    ] = 30,
    user: Annotated[
        str,
        typer.Option(help="Only this user's, by the user's hash; with the last ten."),
    ] = "",
    error: Annotated[
        str,
        typer.Option(
            help="Only failures by this cause, such as out_of_memory: under which circumstances they come."
        ),
    ] = "",
    report: Annotated[
        str,
        typer.Option(
            help="Write charts and tables to this file, something.html or something.pdf."
        ),
    ] = "",
    csv: Annotated[
        str, typer.Option(help="Write one CSV file a table into this folder.")
    ] = "",
    parquet: Annotated[
        str, typer.Option(help="Write one Parquet file a table into this folder.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Shares of workflows, favourite sizes, success rate, causes of failure, seconds,
    duplicates, bursts and users, from the audit log.
    """
    need_servers()
    options = ["--days", str(days)]
    given = {"--user": user, "--error": error, "--report": report}
    given |= {"--csv": csv, "--parquet": parquet}
    for name, value in given.items():
        if value:
            options.append(f"{name}={value}")
    become("handlers", "stats", *options, as_json=as_json)
