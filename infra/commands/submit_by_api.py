"""`darkroom submit` through the HTTP API, as an app does: by a ticket for each photo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.client import DarkroomClient, Priority, UploadState

SHOWN_AS = {"waiting": "uploaded", "success": "restored"}
"""The API's word for a status → that of `darkroom submit`; the others are the same."""
NEVER_ARRIVED = "the upload did not arrive before its ticket expired"


@dataclass(frozen=True)
class Wishes:
    """What is to be made of the photos. Without a workflow, or without formats of
    copies, it is the installation's default.
    """

    workflow: str | None
    params: dict[str, Any]
    priority: Priority
    formats: Sequence[str] | None = None
    page: int = 1
    mask: Path | None = None


@dataclass
class Ticketed:
    """A photo that was sent through the API."""

    client: DarkroomClient
    path: Path
    state: UploadState
    saved_as: Path | None = None

    @property
    def ended(self) -> bool:
        return self.state.ended

    @property
    def restored(self) -> bool:
        return self.state.restored

    @property
    def fault(self) -> str | None:
        """Why the photo has no result; None where it has one, or may still get it."""
        if self.state.status == "expired":
            return NEVER_ARRIVED
        if self.state.status in ("rejected", "failed"):
            return self.state.error_detail or self.state.status
        return None

    def look(self) -> None:
        """Asks the API how far the photo has come."""
        self.state = self.client.state(self.state.ticket)

    def save(self, to: Path) -> None:
        """Fetches the result, and the copies beside it."""
        assert self.state.task_id is not None
        self.client.save(self.state.task_id, to)
        self.saved_as = to
        for copy in self.client.copies(self.state.task_id):
            name = copy_name(to, copy["key"], self.state.task_id)
            if name != to:
                self.client.save_copy(self.state.task_id, copy, name)

    def as_dict(self) -> dict[str, Any]:
        """The photo as `--json` prints it."""
        return {
            "path": str(self.path),
            "ticket": self.state.ticket,
            "status": self._status(),
            "task_id": self.state.task_id,
            "saved_as": str(self.saved_as) if self.saved_as else None,
            "error_code": self.state.error_code,
            "error_detail": self.fault,
        }

    def row(self) -> tuple[str, ...]:
        """The photo's cells of the table."""
        status = self._status()
        if self.fault:
            status = f"{status}: {self.fault}"
        name = self.state.task_id or f"ticket {self.state.ticket}"
        return self.path.name, status, name, "", "", str(self.saved_as or "")

    def _status(self) -> str:
        return SHOWN_AS.get(self.state.status, self.state.status)


def copy_name(result: Path, key: str, task_id: str) -> Path:
    """The file for a copy, beside that of the result: `photo.jpg` or
    `photo-labelled.jpg` beside `photo.png`.
    """
    end = key.rpartition("/")[2].removeprefix(task_id)
    return result.with_name(f"{result.stem}{end}")


def sender(client: DarkroomClient, wishes: Wishes) -> Callable[[Path], Ticketed]:
    """What sends one photo by a ticket; the API itself judges the wishes."""

    def send(path: Path) -> Ticketed:
        ticket = client.submit(
            path,
            workflow=wishes.workflow,
            params=wishes.params,
            priority=wishes.priority,
            formats=wishes.formats,
            page=wishes.page,
            mask=wishes.mask,
        )
        return Ticketed(client, path, UploadState(ticket, "waiting"))

    return send
