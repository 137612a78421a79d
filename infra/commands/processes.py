"""`darkroom handlers|recorder|sweep|callbacks|worker`: each becomes one process of
Darkroom.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from infra.commands.become import become
from infra.commands.options import JsonOption
from infra.commands.require_stack import need_servers

app = typer.Typer(add_completion=False)


@app.command()
def handlers() -> None:
    """Run the HTTP server: storage events, health, API."""
    become("handlers", "http")


@app.command()
def recorder() -> None:
    """Run the recorder: events into the audit log."""
    become("handlers", "recorder")


@app.command()
def callbacks() -> None:
    """Run the dispatcher of webhooks: signed requests to the URLs that users named."""
    become("handlers", "callbacks")


@app.command()
def worker() -> None:
    """Run one worker."""
    become("gpu_worker")


@app.command()
def sweep(
    since: Annotated[
        str,
        typer.Option(
            help="Only what is younger: 2026-01-31T12:00, UTC without a zone."
        ),
    ] = "",
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Change nothing, count what would be done."),
    ] = False,
    forever: Annotated[
        bool, typer.Option("--forever", help="One sweep after another, as a process.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Reconcile bucket, receipts and results; publish what was lost. Once, or with
    `--forever` again and again.
    """
    if forever and (since or dry_run or as_json):
        raise typer.BadParameter(
            "--since, --dry-run and --json belong to one sweep, not to --forever"
        )
    if forever:
        become("handlers", "sweep")
    options = ["--once"]
    if since:
        options += ["--since", _time(since)]
    if dry_run:
        options.append("--dry-run")
    need_servers()
    become("handlers", "sweep", *options, as_json=as_json)


def _time(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"--since {text!r} is no time of ISO 8601, such as 2026-01-31T12:00"
        ) from error
    return text
