"""Many photos at once: sent, waited for and saved, each for itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from infra.client import DarkroomClient, UploadState
from shared.errors import DarkroomError

AT_ONCE = 4


@dataclass(frozen=True)
class Restored:
    """What became of one photo: its state at the end and the file that its result was
    saved to, or the error that it met.
    """

    path: Path
    state: UploadState | None = None
    saved_as: Path | None = None
    error: DarkroomError | OSError | None = None


def restore(
    client: DarkroomClient,
    paths: Iterable[Path],
    folder: Path | None = None,
    *,
    at_once: int = AT_ONCE,
    timeout_s: float = 3600.0,
    **wishes: Any,
) -> Iterator[Restored]:
    """Restore photos, `at_once` at a time, and tell of each as it ends.

    Results are saved into `folder`, if one is named, as `{name}-restored.png`; the
    other `wishes` are those of `DarkroomClient.submit`. What one photo meets costs no
    other.
    """

    def one(path: Path) -> Restored:
        try:
            state = client.wait(client.submit(path, **wishes), timeout_s)
            saved_as = _save(client, path, state, folder)
        except (DarkroomError, OSError) as error:
            return Restored(path, error=error)
        return Restored(path, state, saved_as)

    waiting = iter(paths)
    with ThreadPoolExecutor(at_once, "restore") as pool:
        running: set[Future[Restored]] = set()
        # No more than is worked on is asked for: `paths` may be endless.
        for path in islice(waiting, at_once):
            running.add(pool.submit(one, path))
        while running:
            done = next(as_completed(running))
            running.remove(done)
            for path in islice(waiting, 1):
                running.add(pool.submit(one, path))
            yield done.result()


def _save(
    client: DarkroomClient, path: Path, state: UploadState, folder: Path | None
) -> Path | None:
    if folder is None or not state.restored or state.task_id is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    saved_as = folder / f"{path.stem}-restored.png"
    client.save(state.task_id, saved_as)
    return saved_as
