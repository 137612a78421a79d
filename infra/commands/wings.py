"""Commands that become a process of a wing: `darkroom worker` is `python -m gpu_worker`, and so on.

`infra` starts the wings and never imports them; extra arguments are passed on as they are.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime
from typing import Annotated, NoReturn

import typer

from infra.commands.no_stack import need_servers

app = typer.Typer(add_completion=False)
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def _become(module: str, *arguments: str) -> NoReturn:
    sys.stdout.flush()
    # -P: the wing that is installed, not a folder of that name where somebody happens to stand.
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])  # noqa: S606 - our own interpreter


@app.command(context_settings=PASS_ON)
def handlers(ctx: typer.Context) -> None:
    """Run the HTTP door: storage events, health, API."""
    _become("handlers", "http", *ctx.args)


@app.command(context_settings=PASS_ON)
def recorder(ctx: typer.Context) -> None:
    """Run the recorder: log events into PostgreSQL."""
    _become("handlers", "recorder", *ctx.args)


@app.command()
def sweep(
    since: Annotated[str, typer.Option(help="Only what is younger: 2026-01-31T12:00, UTC without a zone.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing, count what would be done.")] = False,
    forever: Annotated[bool, typer.Option("--forever", help="One sweep after another, as a process.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Nothing but JSON on stdout.")] = False,
) -> None:
    """Compare bucket, receipts and results; publish what was lost. Once, or with `--forever` again and again."""
    if forever and (since or dry_run or as_json):
        raise typer.BadParameter("--since, --dry-run and --json belong to one sweep, not to --forever")
    if forever:
        _become("handlers", "sweep")
    flags = {"--dry-run": dry_run, "--json": as_json}
    given = [*(["--since", _moment(since)] if since else []), *(flag for flag, said in flags.items() if said)]
    need_servers()
    _become("handlers", "sweep", "--once", *given)


def _moment(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"--since {text!r} is no time of ISO 8601, such as 2026-01-31T12:00") from error
    return text


@app.command(context_settings=PASS_ON)
def callbacks(ctx: typer.Context) -> None:
    """Run the callbacks: signed webhooks to whoever asked to be called."""
    _become("handlers", "callbacks", *ctx.args)


@app.command(context_settings=PASS_ON)
def webhooks(ctx: typer.Context) -> None:
    """`darkroom webhooks test URL`: send a signed sample; `secret --user U`: what verifies a user's calls."""
    if ctx.args[:1] not in (["test"], ["secret"]):
        raise typer.BadParameter("there are two verbs: `darkroom webhooks test URL` and `webhooks secret --user U`")
    need_servers()
    _become("handlers", "callbacks", *ctx.args)


@app.command(context_settings=PASS_ON)
def log(ctx: typer.Context) -> None:
    """`darkroom log rebuild [--json]`: write the log database again from the buckets."""
    if ctx.args[:1] != ["rebuild"]:
        raise typer.BadParameter("there is one verb: `darkroom log rebuild`")
    need_servers()
    _become("handlers", *ctx.args)


@app.command(context_settings=PASS_ON)
def worker(ctx: typer.Context) -> None:
    """Run one worker."""
    _become("gpu_worker", *ctx.args)


@app.command(context_settings=PASS_ON)
def models(ctx: typer.Context) -> None:
    """`darkroom models list|verify|pull NAME|add FILE [--json]`."""
    _become("gpu_worker", "models", *ctx.args)
