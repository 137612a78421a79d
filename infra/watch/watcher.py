"""One look after another at a folder: what has settled is sent, what has ended is
fetched.

The folder is polled: that works on every disk, also on one of the network, which tells
nobody of changes. A file has settled once its size and its time are the same for a
while. It is sent with an `Idempotency-Key` of its content, so a watch that is killed
before it noted a ticket gets the same ticket again.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from infra.client import Unauthorized, UploadState
from infra.watch.journal import Entry, Journal
from shared.errors import Code, NotFound, PermanentError, TransientError
from shared.uploads import photo_files

MARK = "-restored"
"""Ends the name of a result that is written beside its photo."""
_RESULT = re.compile(rf".*{MARK}(-\d+)?\.png")
MOST_UNDER_WAY = 64


class Sender(Protocol):
    """The API, with the wishes of this watch."""

    def submit(self, path: Path) -> str:
        """Send a photo; its ticket."""

    def state(self, ticket: str) -> UploadState: ...

    def save(self, task_id: str, to: Path) -> None:
        """Write a result whole, or not at all."""


@dataclass(frozen=True)
class Folders:
    """`results` may be the watched folder itself, or lie in it."""

    watched: Path
    results: Path

    @property
    def is_beside(self) -> bool:
        return self.watched == self.results


class _Away(TransientError):
    """No worker can do the work: all photos wait until somebody mends that."""


class Watcher:
    """`tell` gets a sentence about each photo that was sent or has ended, and about a
    server that is away.
    """

    def __init__(
        self,
        folders: Folders,
        sender: Sender,
        journal: Journal,
        settle_s: float,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folders = folders
        self._sender = sender
        self._journal = journal
        self._settle_s = settle_s
        self._tell = tell
        self._clock = clock
        self._seen: dict[str, tuple[str, float]] = {}
        self._outage = ""
        self._told: dict[str, str] = {}
        journal.forget_refused()

    def look(self) -> bool:
        """Send and fetch what can be. True: nothing is under way, and nothing settles.

        Raises `Unauthorized` where the key is refused.
        """
        try:
            self._fetch()
            is_settled = self._send()
        except TransientError as error:
            if error.detail != self._outage:
                self._tell(f"waits: {error.detail}")
            self._outage = error.detail
            return False
        self._outage = ""
        return is_settled and not self._journal.under_way()

    def _send(self) -> bool:
        """Send what has settled. False: something has not."""
        free = MOST_UNDER_WAY - len(self._journal.under_way())
        is_settled = True
        present = {}
        for path, mark in self._files():
            present[path] = self._since(path, mark)
            known = self._journal.entry(path)
            if known is not None and known.mark == mark and known.ticket:
                continue
            if known is not None and known.mark == mark and known.ended:
                continue
            if self._clock() - present[path][1] < self._settle_s or not free:
                is_settled = False
                continue
            free -= 1
            self._send_one(path, mark, known)
            is_settled = is_settled and path not in self._told
        self._seen = present
        return is_settled

    def _since(self, path: str, mark: str) -> tuple[str, float]:
        """The file's mark, and since when it has had it."""
        before = self._seen.get(path)
        if before is not None and before[0] == mark:
            return before
        return mark, self._clock()

    def _send_one(self, path: str, mark: str, known: Entry | None) -> None:
        target = known.target if known else None
        entry = Entry(path, mark, target=target)
        try:
            ticket = self._sender.submit(self._folders.watched / path)
        except FileNotFoundError:
            return  # it was taken away again
        except OSError as error:
            self._later(path, error.strerror or type(error).__name__)
            return
        except Unauthorized:
            raise
        except PermanentError as error:
            if error.code == Code.WORKFLOW_UNAVAILABLE:
                raise _Away(error.code, error.detail) from error
            if error.code == Code.STORAGE_UNAVAILABLE:
                self._later(path, error.detail)
            else:
                self._end(replace(entry, fault=error.detail))
            return
        self._journal.write(replace(entry, ticket=ticket))
        self._told.pop(path, None)
        self._tell(f"{path}: sent")

    def _fetch(self) -> None:
        for entry in self._journal.under_way():
            assert entry.ticket is not None
            try:
                state = self._sender.state(entry.ticket)
            except NotFound as error:
                self._end(replace(entry, fault=error.detail))
                continue
            if state.status == "expired":
                # It never came to the store: it is sent again.
                self._journal.write(replace(entry, ticket=None))
            elif state.ended:
                self._fetch_one(entry, state)

    def _fetch_one(self, entry: Entry, state: UploadState) -> None:
        if not state.restored or state.task_id is None:
            self._end(replace(entry, fault=state.error_detail or state.status))
            return
        if entry.target is None:
            # Noted before it is written: a watch that is killed in between takes the
            # file for its own.
            entry = replace(entry, target=self._free(entry.path))
            self._journal.write(entry)
        to = self._folders.results / str(entry.target)
        try:
            to.parent.mkdir(parents=True, exist_ok=True)
            self._sender.save(state.task_id, to)
        except OSError as error:
            self._later(entry.path, f"{to}: {error.strerror}")
            return
        except Unauthorized:
            raise
        except PermanentError as error:
            if error.code == Code.STORAGE_UNAVAILABLE:
                self._later(entry.path, error.detail)
                return
            entry = replace(entry, fault=error.detail)
        self._end(entry)

    def _later(self, path: str, why: str) -> None:
        """This photo alone is tried again, at the next look."""
        if self._told.get(path) != why:
            self._tell(f"{path}: waits: {why}")
        self._told[path] = why

    def _end(self, entry: Entry) -> None:
        self._journal.write(replace(entry, ended=True))
        self._told.pop(entry.path, None)
        outcome = f"not restored: {entry.fault}" if entry.fault else "restored"
        self._tell(f"{entry.path}: {outcome}")

    def _free(self, path: str) -> str:
        """Where the result of a photo goes: as the photo lies in its folder, under a name
        that nothing has yet.
        """
        place = Path(path)
        mark = MARK if self._folders.is_beside else ""
        target, number = place.with_name(f"{place.stem}{mark}.png"), 1
        while self._is_taken(target, path):
            number += 1
            target = place.with_name(f"{place.stem}{mark}-{number}.png")
        return str(target)

    def _is_taken(self, target: Path, path: str) -> bool:
        is_there = (self._folders.results / target).exists()
        return is_there or self._journal.is_target(str(target), path)

    def _files(self) -> Iterator[tuple[str, str]]:
        """Each photo's path in the folder, and its mark. Hidden files and folders, links
        and results are none.
        """
        for folder, folders, names in os.walk(self._folders.watched):
            here = Path(folder)
            folders[:] = sorted(
                name
                for name in folders
                if not name.startswith(".") and not self._is_results(here / name)
            )
            for name in sorted(names):
                place = here / name
                path = str(place.relative_to(self._folders.watched))
                if not _is_photo(place) or self._is_result(name):
                    continue
                try:
                    info = place.stat()
                except OSError:
                    continue  # it was taken away again
                yield path, f"{info.st_size}-{info.st_mtime_ns}"

    def _is_result(self, name: str) -> bool:
        return self._folders.is_beside and _RESULT.fullmatch(name) is not None

    def _is_results(self, folder: Path) -> bool:
        return not self._folders.is_beside and folder == self._folders.results


def _is_photo(place: Path) -> bool:
    is_shown = not place.name.startswith(".") and not place.is_symlink()
    return is_shown and place.suffix.lower() in photo_files.SUFFIXES
