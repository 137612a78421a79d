"""`darkroom jobs`: the jobs of albums and archives, and how far each has come."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from infra.commands.job_options import counts, items_of, job_named, shown_states
from infra.commands.options import JsonOption
from infra.commands.require_stack import need_servers
from infra.ingest.progress import Watch
from infra.terminal import shown
from shared.s3.store import S3Store
from shared.uploads.ingests import IngestStore

app = typer.Typer(add_completion=False)
console = Console(highlight=False, markup=False)


@app.command()
def jobs(
    job: Annotated[
        str | None, typer.Argument(help="A job's name or id; all jobs without it.")
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Its photos that have no result, and why.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """All jobs, of `darkroom ingest`, the page and the API, or how far one has come."""
    settings = need_servers()
    store = S3Store(settings)
    ingests = IngestStore(store, settings.bucket_results)
    if job is None:
        _show_all(ingests, as_json)
        return
    found = job_named(ingests, job)
    states = Watch(store, settings).states(items_of(ingests, found))
    if failed:
        shown_states(states, as_json=as_json, only_failed=True)
        return
    counted = counts(states)
    if as_json:
        print(json.dumps({"job": found.job, "name": found.name, "items": counted}))
        return
    console.print(shown(f"{found.name} ({found.job})"))
    for status, number in counted.items():
        console.print(f"  {number:>9,} {status}")
    if ingests.end(found.job) is None:
        console.print(
            "  not everything was sent; give the same `darkroom ingest` again"
        )


def _show_all(ingests: IngestStore, as_json: bool) -> None:
    rows = []
    for job in ingests.jobs():
        end = ingests.end(job.job)
        rows.append(
            {
                "job": job.job,
                "name": job.name,
                "workflow": job.workflow.name,
                "begun_at": job.begun_at.isoformat(),
                "sent": end.sent if end else None,
                "failed": end.failed if end else None,
            }
        )
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    names = ("name", "workflow", "begun", "sent", "with a fault", "job")
    # whole ids, however narrow the terminal: `darkroom report` takes nothing else
    table = Table(*(Column(name, overflow="fold") for name in names))
    for row in rows:
        table.add_row(
            *(
                shown("" if value is None else value)
                for value in (
                    row["name"],
                    row["workflow"],
                    str(row["begun_at"])[:16].replace("T", " "),
                    row["sent"],
                    row["failed"],
                    row["job"],
                )
            )
        )
    console.print(table)
