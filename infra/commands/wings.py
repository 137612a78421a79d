"""Commands that become a process of a wing: `darkroom worker` is `python -m gpu_worker`, and so on.

`infra` starts the wings and never imports them; extra arguments are passed on as they are.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import typer

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


@app.command(context_settings=PASS_ON)
def sweep(ctx: typer.Context) -> None:
    """One sweep (`--since ISO --dry-run --json`), or one after another with `--forever`."""
    if "--forever" in ctx.args:
        _become("handlers", "sweep")
    _become("handlers", "sweep", "--once", *ctx.args)


@app.command(context_settings=PASS_ON)
def callbacks(ctx: typer.Context) -> None:
    """Run the callbacks: signed webhooks to whoever asked to be called."""
    _become("handlers", "callbacks", *ctx.args)


@app.command(context_settings=PASS_ON)
def webhooks(ctx: typer.Context) -> None:
    """`darkroom webhooks test URL [--json]`: send a signed sample and say what came of it."""
    if ctx.args[:1] != ["test"]:
        raise typer.BadParameter("there is one verb: `darkroom webhooks test URL`")
    _become("handlers", "callbacks", *ctx.args)


@app.command(context_settings=PASS_ON)
def log(ctx: typer.Context) -> None:
    """`darkroom log rebuild [--json]`: write the log database again from the buckets."""
    if ctx.args[:1] != ["rebuild"]:
        raise typer.BadParameter("there is one verb: `darkroom log rebuild`")
    _become("handlers", *ctx.args)


@app.command(context_settings=PASS_ON)
def worker(ctx: typer.Context) -> None:
    """Run one worker."""
    _become("gpu_worker", *ctx.args)


@app.command(context_settings=PASS_ON)
def models(ctx: typer.Context) -> None:
    """`darkroom models list|verify|pull NAME|add FILE [--json]`."""
    _become("gpu_worker", "models", *ctx.args)
