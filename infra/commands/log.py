"""`darkroom log rebuild`."""

from __future__ import annotations

import typer

from infra.commands.become import become
from infra.commands.options import JsonOption
from infra.commands.require_stack import need_servers

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Rebuild the audit log from the buckets.",
)


@app.callback()
def _log() -> None:
    """Rebuild the audit log from the buckets."""


@app.command()
def rebuild(as_json: JsonOption = False) -> None:
    """Write the audit log again from the buckets; rows that are there stay."""
    need_servers()
    become("handlers", "rebuild", as_json=as_json)
