"""`darkroom doctor`."""

from __future__ import annotations

import json
from contextlib import closing, suppress
from typing import Annotated

import typer
from rich.console import Console

from infra import doctor as checks
from infra.backup.index import held
from infra.backup.vault import vault_of
from infra.commands.options import JsonOption
from infra.commands.require_stack import need_servers
from infra.local import stack
from infra.local.state import Pids
from infra.terminal import shown
from shared.errors import DarkroomError
from shared.models import use_local
from shared.runtime.about import workflow_files
from shared.runtime.settings import Settings

app = typer.Typer(add_completion=False)


@app.command()
def doctor(
    others: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="URL",
            help="A further process, of another machine or a standby: the address of its metrics.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare releases, workflows, models and settings of all processes, and the backup;
    exit status 1 if something is wrong.
    """
    settings = need_servers()
    use_local(settings.models_dir)
    addresses = _addresses(settings) | {url: url.rstrip("/") for url in others or []}
    said, findings = checks.asked(addresses)
    findings += checks.processes(settings, said)
    backed_up: dict[str, str] = {}
    with suppress(DarkroomError, OSError), closing(held(vault_of(settings))) as index:
        backed_up = checks.of_backup(index, "model")
        known = checks.of_backup(index, "workflow")
        findings += checks.workflows(known, workflow_files(), "in the backup and here")
    findings += checks.own_workflows(settings)
    findings += checks.models(settings, backed_up)
    findings += checks.backup(settings)
    found = checks.first(findings)
    if as_json:
        print(json.dumps({"processes": sorted(said), "findings": found}))
    else:
        _print(sorted(said), found)
    if found:
        raise typer.Exit(1)


def _addresses(settings: Settings) -> dict[str, str]:
    """Name → address of every process of the stack in the state folder."""
    folder = settings.state_dir.expanduser().resolve()
    found = {}
    for name in Pids(folder).alive():
        file = stack.ready_file(folder, name)
        if file.exists() and (address := file.read_text()):
            found[name] = address
    return found


def _print(names: list[str], findings: list[str]) -> None:
    out = Console(highlight=False, markup=False)
    out.print(f"compared: {', '.join(names) or 'no process'}, models, backup")
    for finding in findings:
        out.print(f"✗ {shown(finding)}", soft_wrap=True)
    if not findings:
        out.print("✓ nothing is wrong")
