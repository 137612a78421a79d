"""`darkroom workflows …`: which there are, and the installation's own."""

from __future__ import annotations

import difflib
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infra import workflow_files
from infra.commands.options import JsonOption
from infra.commands.require_stack import need_servers
from infra.terminal import shown
from shared import models
from shared import workflows as known
from shared.errors import PermanentError
from shared.offers import Lack, Offers
from shared.runtime.settings import Settings
from shared.s3.store import S3Store
from shared.workflows import Workflow, own

app = typer.Typer(
    add_completion=False,
    help="The workflows, their parameters, and whether a worker of the running stack can run them.",
)
Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE…", help="Workflow files, or folders with their `*.json`."
    ),
]


@app.callback(invoke_without_command=True)
def without_command(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """The workflows, their parameters, and whether a worker of the running stack can
    run them.
    """
    if ctx.invoked_subcommand is None:
        show(as_json)


@app.command("list")
def list_all(as_json: JsonOption = False) -> None:
    """All workflows, built in and your own; files that cannot be used stand below."""
    show(as_json)


@app.command()
def check(files: Files) -> None:
    """Whether these files are workflows that can be added; needs no running stack."""
    models.use_local(Settings.load().models_dir)
    found = workflow_files.files(files)
    faults = [fault for file in found if (fault := _checked(file)) is not None]
    for fault in faults:
        print(f"darkroom: {shown(fault)}", file=sys.stderr)
    if faults:
        raise typer.Exit(1)


@app.command()
def add(files: Files) -> None:
    """Add workflow files: handlers and workers know them within ten seconds.

    A version that is there is never changed: raise `version` in the file.
    """
    settings = need_servers()
    models.use_local(settings.models_dir)
    # All are looked at before any is added.
    found = [(workflow_files.read(file), file) for file in workflow_files.files(files)]
    store = S3Store(settings)
    for each, file in found:
        print(workflow_files.add(store, settings.bucket_results, each, file))


@app.command()
def diff(
    one: Annotated[str, typer.Argument(help="A file, a name, or NAME.VERSION.")],
    other: Annotated[str, typer.Argument(help="The same.")],
) -> None:
    """How two workflows, or two versions of one, differ; exit status 1 if they do."""
    before, after = _read(one), _read(other)
    lines = difflib.unified_diff(
        _lines(before),
        _lines(after),
        f"{before.name} {before.version}",
        f"{after.name} {after.version}",
        lineterm="",
    )
    differs = False
    for line in lines:
        differs = True
        print(shown(line))
    if differs:
        raise typer.Exit(1)


def show(as_json: bool) -> None:
    """Print all workflows, then what is wrong with files of your own."""
    settings = Settings.load()
    offers = _offers(settings)
    known.check_usual(settings.usual_params)
    rows = [
        (workflow, offers.lack(resolved) if offers else None)
        for workflow, resolved in known.offered(settings.usual_params)
    ]
    if as_json:
        print(json.dumps([_as_dict(*row) for row in rows], indent=2))
    else:
        Console().print(_table(rows, offers))
    for fault in known.own_faults():
        print(f"darkroom: {shown(fault)}", file=sys.stderr)


def _table(rows: list[tuple[Workflow, Lack | None]], offers: Offers | None) -> Table:
    table = Table("workflow", "version", "what it does", "parameters", "available")
    for workflow, lack in rows:
        rules = [
            f"{name}: {parameter.rule()}"
            for name, parameter in workflow.parameters().items()
        ]
        table.add_row(
            workflow.name,
            f"{workflow.version}{'' if _is_built_in(workflow) else ', own'}",
            escape(shown(workflow.description)),
            escape("\n".join(shown(rule) for rule in rules)),
            escape(_availability(lack, offers)),
        )
    return table


def _as_dict(workflow: Workflow, lack: Lack | None) -> dict[str, Any]:
    fields = workflow.model_dump()
    fields["params_schema"] = workflow.params_schema()
    fields["own"] = not _is_built_in(workflow)
    fields["available"] = lack is None
    fields["unavailable"] = None if lack is None else lack.model_dump()
    return fields


def _is_built_in(workflow: Workflow) -> bool:
    return workflow.name in known.presets()


def _availability(lack: Lack | None, offers: Offers | None) -> str:
    if offers is None:
        return "not known"
    return "yes" if lack is None else f"no: {lack.because}; {lack.command}"


def _offers(settings: Settings) -> Offers | None:
    """What the workers announced. None where there is no stack, or no worker has
    announced anything.
    """
    if not settings.s3_endpoint_url and not settings.api_url:
        return None
    models.use_local(settings.models_dir)
    store = S3Store(settings)
    known.use(known.Shelf(store, settings.bucket_results))
    offers = Offers(store, settings)
    offers.refresh()
    return offers if offers.known else None


def _checked(file: Path) -> str | None:
    """Print what a file is. What is wrong with it, if anything."""
    try:
        workflow = workflow_files.read(file).workflow
    except PermanentError as error:
        return error.detail
    steps = ", ".join(step.step for step in workflow.steps)
    print(f"{file}: {workflow.name} {workflow.version} is fine: {steps}")
    return None


def _read(named: str) -> Workflow:
    """The workflow in a file, or of this name, or of this name and version."""
    if Path(named).is_file():
        return own.parsed(Path(named).read_bytes(), named).workflow
    settings = Settings.load()
    _offers(settings)
    name, _, version = named.partition(".")
    if version and not version.isdecimal():
        raise typer.BadParameter(f"{named!r} is no file, and no NAME.VERSION")
    return known.find(name, int(version) if version else None).workflow


def _lines(workflow: Workflow) -> list[str]:
    fields = workflow.model_dump(exclude_defaults=True)
    return json.dumps(fields, indent=2, ensure_ascii=False).split("\n")
