"""`darkroom export JOB`: the results of an album or archive, as it came."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from infra.commands.job_options import job_named
from infra.commands.require_stack import need_servers
from infra.export import sinks
from infra.export.layouts import LAYOUTS, Export
from infra.ingest.progress import Watch
from infra.terminal import shown
from shared.errors import NotFound
from shared.s3.store import S3Store
from shared.uploads.ingests import IngestStore

app = typer.Typer(add_completion=False)
console = Console(stderr=True, highlight=False, markup=False)


@app.command()
def export(
    job: Annotated[str, typer.Argument(help="A job's name or id.")],
    out: Annotated[
        Path, typer.Option(help="A new folder, or a file whose name ends in .zip.")
    ],
    layout: Annotated[
        str, typer.Option(help="tree, album, bag or archivematica.")
    ] = "tree",
    with_originals: Annotated[
        bool,
        typer.Option(
            help="The originals, too; album, bag and archivematica have them."
        ),
    ] = False,
) -> None:
    """Write a job's results with a manifest; failed photos stand in failed.csv, ready to
    be sent again.
    """
    if layout not in LAYOUTS:
        raise typer.BadParameter(f"--layout is one of {', '.join(LAYOUTS)}")
    settings = need_servers()
    store = S3Store(settings)
    ingests = IngestStore(store, settings.bucket_results)
    found = job_named(ingests, job)
    results = waiting = failed = 0
    with sinks.opened(out) as sink:
        writing = Export(
            store,
            settings,
            sink,
            layout,
            with_originals=with_originals,
        )
        for state in Watch(store, settings).states(ingests.items(found.job)):
            try:
                writing.add(state)
            except NotFound as error:
                console.print(shown(f"{state.item.path}: {error.detail}"))
                failed += 1
                continue
            results += state.record is not None
            waiting += state.is_under_way
            failed += state.has_failed
        writing.finish(found.name, datetime.now(UTC).date())
    console.print(
        shown(f"{out}: {results:,} results, {failed:,} failed, {waiting:,} under way")
    )
