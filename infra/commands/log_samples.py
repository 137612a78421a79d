"""Photos of the log, as samples for an estimate."""

from __future__ import annotations

from contextlib import suppress

from infra.client import DarkroomClient
from infra.ingest.estimate import Sample
from shared.errors import DarkroomError, NotFound
from shared.runtime.connection import Connection

LATEST = 50
WAIT_S = 5.0


def latest(workflow: str) -> list[Sample]:
    """The latest restored photos of a workflow; none where no API answers, as an
    estimate is worth no error.
    """
    connection = Connection.load()
    if not connection.api_url:
        return []
    with (
        suppress(DarkroomError),
        DarkroomClient(
            connection.api_url, connection.api_key, retry_s=WAIT_S
        ) as client,
    ):
        return _samples(client, workflow)
    return []


def _samples(client: DarkroomClient, workflow: str) -> list[Sample]:
    found = []
    for row in client.tasks(limit=LATEST, status="success", workflow=workflow):
        size, seconds, task_id = row["bytes"], row["duration_seconds"], row["task_id"]
        if size and seconds is not None and task_id:
            with suppress(NotFound):
                record = client.record(task_id)
                found.append(Sample(size, seconds, record["result_bytes"]))
    return found
