"""How the commands about jobs find one, and the words that several commands share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import typer

from infra.commands.job_options import job_named
from infra.commands.options import bytes_of
from shared.errors import SettingsError
from shared.uploads import identity
from shared.uploads.documents import WorkflowRef
from shared.uploads.ingests import IngestJob, IngestStore
from tests.support.memory_store import MemoryStore

FAST = WorkflowRef(name="fast", version=1, signature="0" * 16, params={})


@pytest.fixture
def store() -> Any:
    return MemoryStore()


def begun(ingests: IngestStore, ident: str, name: str) -> IngestJob:
    job = IngestJob(
        job=ident,
        name=name,
        workflow=FAST,
        priority="bulk",
        begun_at=datetime.now(UTC),
    )
    return ingests.begin(job)


def test_every_job_is_found_by_its_name_and_by_its_id(store: Any) -> None:
    """Those of the page and of apps, too, whose ids do not follow from their names."""
    ingests = IngestStore(store, "results")
    ours = begun(ingests, identity.ingest_job("scans-1931"), "scans-1931")
    of_the_page = begun(ingests, "e3ccc2df-1d5b-5be6-8d55-d28f5b3e4cef", "Album 1931")
    assert job_named(ingests, "scans-1931") == ours
    assert job_named(ingests, "Album 1931") == of_the_page
    assert job_named(ingests, of_the_page.job) == of_the_page
    with pytest.raises(SettingsError, match="there is no job 'Album'"):
        job_named(ingests, "Album")


def test_of_two_jobs_of_one_name_an_id_is_asked_for(store: Any) -> None:
    ingests = IngestStore(store, "results")
    first = begun(ingests, "0a000000-0000-5000-8000-000000000000", "Album")
    second = begun(ingests, "0b000000-0000-5000-8000-000000000000", "Album")
    with pytest.raises(SettingsError, match=f"{first.job}, {second.job}"):
        job_named(ingests, "Album")


@pytest.mark.parametrize("text", ["50MB", "50 mb", "50000kB", "50000KB/s"])
def test_a_number_of_bytes_is_read_in_small_and_capital_letters(text: str) -> None:
    assert bytes_of(text, "--rate") == 50_000_000
    with pytest.raises(typer.BadParameter, match="--rate is a number of bytes"):
        bytes_of(f"{text}x", "--rate")
