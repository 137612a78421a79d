"""A photo of an album is erased from its job, too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from infra.ingest import inventory, sources
from infra.ingest.journal import Journal
from infra.ingest.sending import Order, Rate, Sending
from infra.local.stack import Stack
from shared import workflows
from shared.uploads import identity
from shared.uploads.ingests import IngestStore, SkippedFile
from tests.support.api_world import tenant
from tests.support.erasure_world import ErasureWorld, Secrets, noise
from tests.unit.infra.ingest.test_sending import NoLimit

JOB = identity.ingest_job("album")


@pytest.fixture
def world(servers: Stack, url: str) -> Iterator[ErasureWorld]:
    """Of buckets that keep versions."""
    with closing(ErasureWorld(servers.settings, url, "kept")) as world:
        yield world


def test_an_ingested_photo_is_erased_with_its_words(
    world: ErasureWorld, tmp_path: Path
) -> None:
    """Also from buckets that keep versions; the rest of its job stays."""
    secret = Secrets()
    name = secret.word()
    album = tmp_path / "album"
    album.mkdir()
    (album / f"{name}.png").write_bytes(secret.picture("original", noise()))
    (album / "other.png").write_bytes(noise())
    for moving in (f"{name}.mov", "other.mov"):
        (album / moving).write_bytes(b"moving")
    ingests = IngestStore(world.store, world.settings.bucket_results)
    order = Order(
        JOB,
        workflows.resolve("fast", {}),
        "bulk",
        world.settings.bucket_uploads,
        world.settings.max_upload_bytes,
        world.settings.max_frames,
    )
    source = sources.opened(album)
    with Journal(tmp_path / "journal") as journal:
        sending = Sending(
            world.store,
            ingests,
            journal,
            order,
            rate=Rate(None),
            throttle=NoLimit(),
            is_continued=False,
        )
        found = inventory.taken(source)
        sending.run(source, found)
    skipped = [SkippedFile(path=path, why=why) for path, why in found.skipped.items()]
    ingests.write_skipped(JOB, skipped, {})
    receipts = {
        item.path: world.decide(item.key) for item in ingests.items(JOB) if item.key
    }
    ours = receipts[f"{name}.png"]
    assert ours.ingest is not None
    client = world.client(tenant(identity.ANONYMOUS, world.settings))
    answer = client.delete(f"/v1/tasks/{ours.task_id}", params={"erase": True})
    assert answer.status_code == 200, answer.text
    world.record()
    assert not world.found(secret)
    assert {item.path for item in ingests.items(JOB)} == {None, "other.png"}
    assert [file.path for file in ingests.skipped(JOB)] == ["other.mov"]
    # The same command again finds the file in its source, and does not tell it.
    ingests.write_skipped(JOB, skipped, {ours.upload_id: f"{name}.png"})
    assert [file.path for file in ingests.skipped(JOB)] == ["other.mov"]
