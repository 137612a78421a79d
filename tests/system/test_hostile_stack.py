"""Hostile files between sound ones, through the real servers and the real worker."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import psutil

from tests.support import hostile
from tests.support.client import Client, photo
from tests.support.hostile import Hostile
from tests.support.waiting import eventually
from tests.system.test_main_job import upload_id, worker_of

KINDS = {
    "truncated",
    "overflowed",
    "mutated",
    "strangers",
    "liars",
    "metadata",
    "polyglots",
}
SEED = 7
HOSTILE = 60


def test_every_file_ends_and_the_worker_lives(client: Client, main_stack: Path) -> None:
    """Each upload has one row in an end state; what failed has its reason; sound photos
    come back; nobody restarted.
    """
    before = worker_of(main_stack)
    uploads = {
        upload_id(key, client.put(key, file.data, workflow="fast")): file
        for key, file in chosen()
    }
    ends = {
        upload: client.row(upload, "success", "failed", "rejected", "duplicate")
        for upload in uploads
    }
    for upload, row in ends.items():
        if row["status"] in ("failed", "rejected"):
            assert client.reason(upload)["error_code"] == row["error_code"]
            assert uploads[upload].kind != "sound"
        else:
            assert client.record(upload)
    counts = Counter(row["status"] for row in ends.values())
    print(
        f"stack_hostile={HOSTILE} sound={len(uploads) - HOSTILE} "
        + " ".join(f"{k}={n}" for k, n in counts.items())
    )
    assert worker_of(main_stack) == before
    eventually(lambda: not client.keys("results", "claims/") or None, "claims given up")


def test_a_lost_decoder_is_no_photos_fault(client: Client, main_stack: Path) -> None:
    """The decoder's process is killed under a running worker: the next photo is
    restored at its first attempt.
    """
    worker = worker_of(main_stack)
    eventually(lambda: decoders(worker), "its decoder")[0].kill()
    upload = upload_id(
        "after.png", client.put("after.png", photo(seed=77), workflow="fast")
    )
    assert client.record(upload)["attempts"] == 1
    assert worker_of(main_stack) == worker


def decoders(worker: psutil.Process) -> list[psutil.Process]:
    return [
        child
        for child in worker.children()
        if "gpu_worker.codec.sandbox_child" in child.cmdline()
    ]


def chosen() -> list[tuple[str, Hostile]]:
    """Sixty of the corpus and some sound photos, shuffled. Not those that claim much:
    restoring these takes long.
    """
    rng = random.Random(SEED)
    files = [
        file
        for file in hostile.corpus()
        if file.kind in KINDS and len(file.data) < 100_000
    ]
    taken = (
        rng.sample(files, HOSTILE)
        + [Hostile("sound", *file) for file in hostile.sound().items()][::4]
    )
    rng.shuffle(taken)
    return [
        (f"hostile/{number}/{file.key.replace('/', '-')}", file)
        for number, file in enumerate(taken)
    ]
