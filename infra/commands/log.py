"""`darkroom log rebuild|archive|query`."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.commands.become import become
from infra.commands.options import JsonLinesOption, JsonOption
from infra.commands.require_stack import need_servers

HELP = "Rebuild the audit log, move its old months to the archive, ask it in SQL."
app = typer.Typer(add_completion=False, no_args_is_help=True, help=HELP)


@app.callback()
def _log() -> None:
    """Rebuild the audit log, move its old months to the archive, ask it in SQL."""


@app.command()
def rebuild(as_json: JsonOption = False) -> None:
    """Write the audit log again from the buckets; rows that are there stay."""
    need_servers()
    become("handlers", "rebuild", as_json=as_json)


@app.command()
def archive(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing, name the months.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Move the months of the log that have grown old to the bucket archive, now: the
    sweep does it once a day.
    """
    need_servers()
    options = ["--dry-run"] if dry_run else []
    become("handlers", "log", "archive", *options, as_json=as_json)


@app.command()
def query(
    sql: Annotated[
        str,
        typer.Argument(
            help="One SELECT over restoration_log and restoration_event, in DuckDB's SQL."
        ),
    ],
    since: Annotated[str, typer.Option(help="First month to look at: 2026-01.")] = "",
    until: Annotated[str, typer.Option(help="Last month to look at: 2026-12.")] = "",
    limit: Annotated[int, typer.Option(help="Most rows.", min=1)] = 1000,
    timeout: Annotated[
        float, typer.Option(help="Seconds after which it is given up.", min=1)
    ] = 600.0,
    csv: Annotated[bool, typer.Option("--csv", help="CSV on stdout.")] = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Ask the audit log in SQL: live and archived months alike. It can only read."""
    need_servers()
    options = [f"--since={since}", f"--until={until}"]
    options += [f"--limit={limit}", f"--timeout={timeout}"]
    options += ["--csv"] if csv else []
    options += ["--json"] if as_json else []
    become("handlers", "log", "query", *options, "--", sql)
