"""What the faults leave beside the photos: private words in logs and dead letters,
files, processes that fell.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import SecretStr

from shared.broker import dead_letters
from shared.runtime.settings import Settings
from shared.uploads import identity
from tests.chaos.runs import SCRATCH, WORKER_LOGS
from tests.chaos.uploads import ALBUM, USERS

if TYPE_CHECKING:
    from tests.chaos.world import World

OURS = ("handlers", "recorder", "sweep", "callbacks", "worker")
SERVERS = ("seaweedfs", "postgres", "valkey")
ASKED_OR_KILLED = (0, -9, -15)
"""Exit status of what left as it was told to, or was killed. All else is a fault of its
own.
"""


def leaks(world: World) -> list[str]:
    """Secrets in logs and dead letters; and users, their pseudonyms and their keys in
    what is ours of these.

    The store's own log names the keys that are deleted, or told to nobody, and by the
    id of his key who asked for what.
    """
    letters = (
        f"{letter.body!r} {letter.detail} {letter.headers}"
        for letter in dead_letters.letters(world.settings)
    )
    places = {
        path.name: path.read_text(errors="replace") for path in _logs(world.folder)
    }
    places["dead letters"] = "\n".join(letters)
    secret, private = list(_secrets(world.settings)), list(_private(world.settings))
    theirs = [(what, word) for what, word in secret if not what.endswith("_access_key")]
    return [
        f"{what} in {place}"
        for place, text in places.items()
        for what, word in (theirs if place.startswith(SERVERS) else secret + private)
        if word in text
    ]


def _secrets(settings: Settings) -> Iterator[tuple[str, str]]:
    for name, value in settings:
        if isinstance(value, SecretStr) and value:
            secret = value.get_secret_value()
            yield name, urlsplit(secret).password or secret


def _private(settings: Settings) -> Iterator[tuple[str, str]]:
    pepper = settings.pepper.get_secret_value().encode()
    for user in USERS[1:]:
        yield "a user's name", user
        yield "a user's pseudonym", identity.user_hash(user, pepper)
    yield "a user's key", ALBUM


def _logs(folder: Path) -> list[Path]:
    return [
        path
        for logs in (folder / "logs", folder.parent / WORKER_LOGS)
        for path in sorted(logs.iterdir())
    ]


def left_behind(world: World) -> list[str]:
    """Scratch files, and uploads in parts that nobody ended."""
    files = [
        f"scratch file {path.name}"
        for path in (world.folder.parent / SCRATCH).iterdir()
    ]
    buckets = (
        world.settings.bucket_results,
        world.settings.bucket_quarantine,
        world.settings.bucket_uploads,
    )
    return files + [
        f"parts of {part.key} in {bucket}"
        for bucket in buckets
        for part in world.store.unfinished(bucket)
    ]


def died(world: World) -> list[str]:
    """Processes of ours that ended by themselves, as their supervisor saw it."""
    found = []
    for text in (
        (world.folder / "logs" / "supervisor.log")
        .read_text(errors="replace")
        .splitlines()
    ):
        try:
            line = json.loads(text)
        except ValueError:
            continue
        ours = line.get("event") == "process.died" and line["program"].startswith(OURS)
        if ours and line["status"] not in ASKED_OR_KILLED:
            found.append(
                f"{line['program']} with status {line['status']} at {line['timestamp']}"
            )
    return found
