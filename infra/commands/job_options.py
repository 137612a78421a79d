"""Jobs as the commands about them name and show them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.client import DarkroomClient
from infra.ingest.progress import ItemState
from infra.terminal import shown
from shared.errors import NotFound, SettingsError
from shared.runtime.connection import Connection
from shared.uploads import identity
from shared.uploads.ingests import IngestItem, IngestJob, IngestStore


def job_named(ingests: IngestStore, name: str) -> IngestJob:
    """The job of that name or id. Raises `SettingsError` where there is none, and where
    several have the name.
    """
    for job in (identity.ingest_job(name), name):
        try:
            return ingests.job(job)
        except NotFound:
            continue
    # The ids of jobs that came by the page or the API do not follow from their names.
    found = [job for job in ingests.jobs() if job.name == name]
    if not found:
        raise SettingsError(f"there is no job {name!r}; `darkroom jobs` lists them")
    if len(found) > 1:
        ids = ", ".join(job.job for job in found)
        raise SettingsError(f"several jobs are called {name!r}; give an id: {ids}")
    return found[0]


def items_of(ingests: IngestStore, job: IngestJob) -> Iterator[IngestItem]:
    """The items of a job: from its documents, or, where apps sent them, from the log."""
    if job.user_hash is None:
        yield from ingests.items(job.job)
        return
    connection = Connection.load()
    with DarkroomClient(connection.api_url, connection.api_key) as client:
        for number, row in enumerate(client.items(job.job), 1):
            yield IngestItem(
                item=number,
                path=row["image_filename"],
                bytes=row["bytes"] or 0,
                upload_id=row["upload_id"],
            )


def as_dict(state: ItemState) -> dict[str, Any]:
    """One item of a job for machines."""
    return {
        "path": state.item.path,
        "status": state.status,
        "upload_id": state.item.upload_id,
        "task_id": state.record.task_id if state.record else None,
        "error_code": state.code,
        "error_detail": state.detail,
    }


def shown_states(
    states: Iterable[ItemState], *, as_json: bool, only_failed: bool
) -> None:
    """Print the items of a job: each for machines, and those that failed for people."""
    wanted = [state for state in states if state.has_failed or not only_failed]
    if as_json:
        print(json.dumps([as_dict(state) for state in wanted], indent=2))
        return
    table = Table("photo", "status", "why")
    for state in wanted:
        why = f"{state.code}: {state.detail}" if state.has_failed else ""
        table.add_row(
            shown(state.item.path or "(erased)"), shown(state.status), shown(why)
        )
    if wanted:
        Console(markup=False, highlight=False).print(table)


def counts(states: Iterable[ItemState]) -> dict[str, int]:
    """How many items of a job have come how far."""
    return dict(sorted(Counter(state.status for state in states).items()))
