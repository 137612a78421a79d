"""A client of the HTTP API, as an app would be: tickets, the upload to the store
itself, states, results.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx

from shared.errors import Code, NotFound, PermanentError, SettingsError, TransientError
from shared.uploads.identity import canonical_json

TIMEOUT = httpx.Timeout(30.0, write=300.0)
PAUSE_S = 5.0
"""Where a `Retry-After` cannot be read."""
OF_A_TICKET = {"waiting": "uploaded", "success": "restored"}
"""The API's word → that of `darkroom submit`; the others are the same."""


class Api:
    """Waits as long as the API asks for, but not beyond `patience_s`. All methods raise
    `DarkroomError`.
    """

    def __init__(self, url: str, key: str, patience_s: float) -> None:
        self._http = httpx.Client(
            base_url=url.rstrip("/"),
            headers={"Authorization": f"Bearer {key}"},
            timeout=TIMEOUT,
        )
        # knows no key: signed requests need none
        self._store = httpx.Client(timeout=TIMEOUT)
        self._url, self._ends = url, time.monotonic() + patience_s
        self._trusted = {_origin(url)}

    def send(self, path: Path, wanted: dict[str, Any]) -> Ticketed:
        """Ask for a ticket and upload the file by its form. The same file and wish get
        the same ticket again.
        """
        kind = mimetypes.guess_type(path.name)[0] or ""
        request = {
            "filename": path.name,
            "bytes": path.stat().st_size,
            **wanted,
            "content_type": kind
            if kind.startswith("image/")
            else "application/octet-stream",
        }
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").digest()
            ident = hashlib.sha256(content + canonical_json(request)).hexdigest()
            ticket = self._ask(
                "POST", "/v1/uploads", json=request, headers={"Idempotency-Key": ident}
            )
            form = ticket["post"]
            self._trusted.add(_origin(form["url"]))
            file.seek(0)
            try:
                sent = self._store.post(
                    form["url"], data=form["fields"], files={"file": (path.name, file)}
                )
            except httpx.HTTPError as error:
                raise TransientError(
                    Code.STORAGE_UNAVAILABLE, f"the store does not take {path}"
                ) from error
        if not sent.is_success:
            raise PermanentError(
                Code.STORAGE_UNAVAILABLE,
                f"the store refused {path}: HTTP {sent.status_code}",
            )
        return Ticketed(self, path, ticket["ticket"])

    def state(self, ticket: str) -> dict[str, Any]:
        return self._ask("GET", f"/v1/uploads/{ticket}")

    def save(self, task_id: str, to: Path) -> None:
        """The restored photo, by the link that the API gives: whole and as its record
        has it, or not at all.

        Only a link to the API's own server, or to the store that took the photos, is
        followed.
        """
        link = urljoin(
            self._url,
            self._request("GET", f"/v1/tasks/{task_id}/result").headers["location"],
        )
        if _origin(link) not in self._trusted:
            detail = (
                f"the API gives a link to {_origin(link)} for {task_id}, "
                "which is neither its own server nor the store"
            )
            raise PermanentError(Code.STORAGE_UNAVAILABLE, detail)
        awaited = self._ask("GET", f"/v1/tasks/{task_id}/record")["result_sha256"]
        part, digest = to.with_name(f"{to.name}.part"), hashlib.sha256()
        try:
            with self._store.stream("GET", link) as answer, part.open("wb") as file:
                answer.raise_for_status()
                for piece in answer.iter_bytes():
                    digest.update(piece)
                    file.write(piece)
            if digest.hexdigest() != awaited:
                raise PermanentError(
                    Code.INVALID_OUTPUT,
                    f"the result of {task_id} is not what its record says",
                )
            part.replace(to)
        except httpx.HTTPError as error:
            raise TransientError(
                Code.STORAGE_UNAVAILABLE, f"the result of {task_id} cannot be fetched"
            ) from error
        finally:
            part.unlink(missing_ok=True)

    def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        found: dict[str, Any] = self._request(method, path, **request).json()
        return found

    def _request(self, method: str, path: str, **request: Any) -> httpx.Response:
        while True:
            try:
                answer = self._http.request(method, path, **request)
            except httpx.HTTPError as error:
                raise TransientError(
                    Code.INTERNAL,
                    f"{self._url} does not answer: {type(error).__name__}",
                ) from error
            if answer.status_code < 400:
                return answer
            pause_s = _pause_s(answer)
            if pause_s is None or time.monotonic() + pause_s > self._ends:
                raise _refused(answer)
            time.sleep(pause_s)


@dataclass
class Ticketed:
    """A photo that was sent through the API."""

    api: Api
    path: Path
    ticket: str
    status: str = "uploaded"
    task_id: str | None = None
    error: dict[str, str] | None = None
    saved_as: Path | None = None

    @property
    def ended(self) -> bool:
        return self.restored or self.fault is not None

    @property
    def restored(self) -> bool:
        return self.status in ("restored", "duplicate")

    @property
    def fault(self) -> str | None:
        """Why it has no result."""
        if self.status == "expired":
            return "the upload did not arrive before its ticket expired"
        return (
            (self.error or {}).get("detail", self.status)
            if self.status in ("rejected", "failed")
            else None
        )

    def look(self) -> None:
        """See how far it has come."""
        state = self.api.state(self.ticket)
        self.status = OF_A_TICKET.get(state["status"], state["status"])
        self.task_id, self.error = state.get("task_id"), state.get("error")

    def save(self, to: Path) -> None:
        assert self.task_id is not None
        self.api.save(self.task_id, to)
        self.saved_as = to

    def as_dict(self) -> dict[str, Any]:
        error = self.error or {}
        return {
            "path": str(self.path),
            "ticket": self.ticket,
            "status": self.status,
            "task_id": self.task_id,
            "saved_as": str(self.saved_as) if self.saved_as else None,
            "error_code": error.get("code"),
            "error_detail": self.fault,
        }

    def row(self) -> tuple[str, ...]:
        status = f"{self.status}: {self.fault}" if self.fault else self.status
        return (
            self.path.name,
            status,
            self.task_id or self.ticket,
            "",
            "",
            str(self.saved_as or ""),
        )


def _origin(url: str) -> str:
    """Scheme, host and port: whom one talks to."""
    parts = httpx.URL(url)
    return f"{parts.scheme}://{parts.host}:{parts.port or {'http': 80, 'https': 443}.get(parts.scheme)}"


def _pause_s(answer: httpx.Response) -> float | None:
    """How long the API asks to wait; None: waiting does not help."""
    if answer.status_code not in (429, 503):
        return None
    told = answer.headers.get("retry-after", "")
    return float(told) if told.isdigit() else PAUSE_S


def _refused(answer: httpx.Response) -> PermanentError | TransientError:
    code, detail = "", f"HTTP {answer.status_code} {answer.reason_phrase}"
    with suppress(json.JSONDecodeError, KeyError, TypeError):
        code, detail = answer.json()["code"], answer.json()["detail"]
    if code == Code.WORKFLOW_UNAVAILABLE:
        return PermanentError(
            Code.WORKFLOW_UNAVAILABLE, f"{detail}; nothing was uploaded"
        )
    if answer.status_code == 404:
        return NotFound(Code.SOURCE_MISSING, detail)
    return (
        SettingsError(detail)
        if answer.status_code < 500
        else TransientError(Code.INTERNAL, detail)
    )
