"""A typed client of Darkroom's HTTP API, which needs no more than the base install.

    from infra.client import DarkroomClient

    with DarkroomClient("https://darkroom.example", key) as client:
        ticket = client.submit(Path("grandma.jpg"), workflow="portrait")
        state = client.wait(ticket)
        if state.task_id and state.restored:
            client.save(state.task_id, Path("grandma-restored.png"))

A photograph goes from the client to the object store itself, by the signed form of its
ticket; the API sees no pixel.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypedDict
from urllib.parse import urljoin

import httpx

from infra import client_uploads
from infra.client_uploads import Progress, unheard
from shared.errors import Code, NotFound, PermanentError, SettingsError, TransientError

Status = Literal[
    "waiting",
    "expired",
    "queued",
    "processing",
    "success",
    "duplicate",
    "rejected",
    "failed",
]
Priority = Literal["interactive", "bulk"]
ENDED = ("expired", "success", "duplicate", "rejected", "failed")
TIMEOUT = httpx.Timeout(30.0, write=300.0)
DEFAULT_PAUSE_S = 5.0
"""How long a refused request waits where its `Retry-After` cannot be read."""
POLL_S = 0.5
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class UploadState:
    """How far an upload has come.

    `task_id` is there once the upload was decided on. `error_code` and `error_detail`
    say why a rejected or failed upload has no result.
    """

    ticket: str
    status: Status
    task_id: str | None = None
    error_code: str | None = None
    error_detail: str | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to the upload."""
        return self.status in ENDED

    @property
    def restored(self) -> bool:
        """Whether there is a result; a duplicate has that of its twin."""
        return self.status in ("success", "duplicate")


class TaskRow(TypedDict):
    """One upload as the log has it: sizes in pixels, times in ISO 8601. The API sends
    further fields, as its reference says.
    """

    upload_id: str
    upload_time: str
    task_id: str | None
    status: Status
    workflow_type: str | None
    image_filename: str | None
    bytes: int | None
    width: int | None
    height: int | None
    duration_seconds: float | None
    error_code: str | None
    error_detail: str | None


class TaskEvent(TypedDict):
    """One fact about an upload of a task."""

    event_id: str
    upload_id: str
    kind: Status
    at: str
    fields: dict[str, Any]


class Task(TypedDict):
    """The uploads of one task, the restored one first, and what happened to them."""

    task_id: str
    status: Status
    uploads: list[TaskRow]
    events: list[TaskEvent]


class Copy(TypedDict):
    """A copy of a result: its key in the bucket, and what `formats` asked for it."""

    format: str
    key: str
    sha256: str
    bytes: int
    labelled: bool


class Unauthorized(SettingsError):
    """The API refuses the key, whatever is asked for."""


class DarkroomClient:
    """A connection to one API with one key.

    All methods raise `DarkroomError`: `NotFound` for what is not there or belongs to
    another user, `SettingsError` for a request that the API refuses, `TransientError`
    where a server cannot be reached or stays busy for longer than `retry_s`.
    """

    def __init__(
        self, url: str, key: str, *, retry_s: float = 60.0, store_url: str | None = None
    ) -> None:
        """`retry_s`: how long a request is repeated that the API asks to repeat later.

        Links to results are followed to the API's own server, to the store that took an
        upload of this client, and to `store_url`.
        """
        headers = {"Authorization": f"Bearer {key}"}
        self._url = url
        self._retry_s = retry_s
        self._api = httpx.Client(
            base_url=url.rstrip("/"), headers=headers, timeout=TIMEOUT
        )
        # Signed requests need no key, and the store must not see ours.
        self._store = httpx.Client(timeout=TIMEOUT)
        self._trusted = {_origin(url)}
        if store_url is not None:
            self._trusted.add(_origin(store_url))

    @property
    def trusted(self) -> frozenset[str]:
        """The servers to which links of the API are followed."""
        return frozenset(self._trusted)

    def trust(self, url: str) -> None:
        """Links to this server are followed, too, as one that an earlier client used."""
        self._trusted.add(_origin(url))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._api.close()
        self._store.close()

    def submit(
        self,
        path: Path,
        *,
        workflow: str | None = None,
        params: Mapping[str, Any] | None = None,
        priority: Priority = "interactive",
        callback: str | None = None,
        formats: Sequence[str] | None = None,
        page: int = 1,
        mask: Path | None = None,
        progress: Progress = unheard,
    ) -> str:
        """Sends a photograph and returns its ticket.

        The same file with the same wishes gets the same ticket again, and of a large one
        that broke off only the parts are sent that have not arrived. `progress` is
        called with the bytes that were sent, and with all of them. `params` are those
        of the workflow; `callback` is a URL that a webhook is sent to at the end;
        `formats` are those of copies beside the result, by default the installation's;
        `page` is which one of a TIFF; `mask` is a grey PNG of what the workflow repairs.
        """
        request: dict[str, Any] = {
            "filename": path.name,
            "bytes": path.stat().st_size,
            "params": dict(params or {}),
            "priority": priority,
            "content_type": _content_type(path),
        }
        if workflow is not None:
            request["workflow"] = workflow
        if callback is not None:
            request["callback"] = callback
        if formats is not None:
            request["formats"] = list(formats)
        if page > 1:
            request["page"] = page
        if mask is not None:
            request["params"]["mask"] = f"ticket:{self._send_mask(mask)}"
        return self._send(path, request, progress)

    def _send_mask(self, path: Path) -> str:
        """Sends the mask of a photograph, which nobody restores."""
        request = {
            "filename": path.name,
            "bytes": path.stat().st_size,
            "workflow": "repair",
            "content_type": "image/png",
            "start": False,
        }
        return self._send(path, request, unheard)

    def _send(self, path: Path, request: dict[str, Any], progress: Progress) -> str:
        headers = {"Idempotency-Key": _idempotency_key(path, request)}
        ticket = self._json("POST", "/v1/uploads", json=request, headers=headers)
        self._send_file(path, ticket, progress)
        return str(ticket["ticket"])

    def state(self, ticket: str) -> UploadState:
        """How far the upload of `ticket` has come."""
        found = self._json("GET", f"/v1/uploads/{ticket}")
        error = found.get("error") or {}
        return UploadState(
            ticket=ticket,
            status=found["status"],
            task_id=found.get("task_id"),
            error_code=error.get("code"),
            error_detail=error.get("detail"),
        )

    def wait(self, ticket: str, timeout_s: float = 3600.0) -> UploadState:
        """The state of an upload that has ended.

        Raises `TransientError` where it has not within `timeout_s`.
        """
        deadline_s = time.monotonic() + timeout_s
        while True:
            state = self.state(ticket)
            if state.ended:
                return state
            if time.monotonic() + POLL_S > deadline_s:
                detail = f"ticket {ticket} is {state.status} after {timeout_s:g} s"
                raise TransientError(Code.INTERNAL, detail)
            time.sleep(POLL_S)

    def result(self, task_id: str) -> bytes:
        """The restored photograph, a PNG, checked against its record's SHA-256."""
        return b"".join(self._result(task_id))

    def save(self, task_id: str, to: Path) -> None:
        """Writes the restored photograph to a file: whole and as its record has it, or
        not at all.
        """
        _write_whole(to, self._result(task_id))

    def copies(self, task_id: str) -> list[Copy]:
        """The copies that were made beside a result."""
        record = self._json("GET", f"/v1/tasks/{task_id}/record")
        copies: list[Copy] = record.get("copies", [])
        return copies

    def save_copy(self, task_id: str, copy: Copy, to: Path) -> None:
        """Writes a copy to a file, as `save` does."""
        path = f"/v1/tasks/{task_id}/copies/{copy['format']}"
        if copy["labelled"]:
            path += "?labelled=true"
        _write_whole(to, self._pieces(task_id, path, copy["sha256"]))

    def tasks(
        self,
        *,
        limit: int = 20,
        status: str | None = None,
        user: str | None = None,
        workflow: str | None = None,
    ) -> list[TaskRow]:
        """The latest uploads in the log, newest first.

        `user` is a user's hash, which only the operator's key may ask for.
        """
        params: dict[str, str | int] = {"limit": limit}
        if workflow is not None:
            params["workflow"] = workflow
        if status is not None:
            params["status"] = status
        if user is not None:
            params["user"] = user
        page = self._json("GET", "/v1/tasks", params=params)
        rows: list[TaskRow] = page["items"]
        return rows

    def items(self, job: str) -> Iterator[TaskRow]:
        """The uploads of a job, the latest first."""
        params: dict[str, str | int] = {"limit": 500}
        while True:
            page = self._json("GET", f"/v1/ingests/{job}/items", params=params)
            yield from page["items"]
            if page["next"] is None:
                return
            params["cursor"] = page["next"]

    def task(self, task_id: str) -> Task:
        """One task with its uploads and events."""
        found: Task = self._request("GET", f"/v1/tasks/{task_id}").json()
        return found

    def record(self, task_id: str) -> dict[str, Any]:
        """What was done to a restored photo, as its record says it."""
        return self._json("GET", f"/v1/tasks/{task_id}/record")

    def report(self, task_id: str) -> dict[str, Any]:
        """All about one task: the photo, what was done to it, and what came of it."""
        return self._json("GET", f"/v1/tasks/{task_id}/report")

    def job(self, job: str) -> dict[str, Any]:
        """How far a job is."""
        return self._json("GET", f"/v1/ingests/{job}")

    def save_report(
        self, kind: Literal["tasks", "ingests"], ident: str, to: Path, lang: str = "en"
    ) -> None:
        """Writes the report about a task or a job to a file, as PDF/A, in English or
        Chinese (`zh`).
        """
        path = f"/v1/{kind}/{ident}/report.pdf"
        response = self._request("GET", path, params={"lang": lang})
        _write_whole(to, iter([response.content]))

    def cancel(self, task_id: str) -> None:
        """Ends a task that is not restored yet."""
        self._request("DELETE", f"/v1/tasks/{task_id}")

    def erase(self, task_id: str) -> None:
        """Takes a photograph away, whatever its state, with all that was made of it."""
        self._request("DELETE", f"/v1/tasks/{task_id}", params={"erase": True})

    def erase_upload(self, ticket: str) -> None:
        """Takes away what was uploaded for a ticket, also where it became no task."""
        self._request("DELETE", f"/v1/uploads/{ticket}")

    def _send_file(
        self, path: Path, ticket: dict[str, Any], progress: Progress
    ) -> None:
        """Uploads a file to the store, in parts where the ticket has some."""
        self._trusted.add(_origin(ticket["post"]["url"]))
        multipart = ticket.get("multipart")
        if multipart is None:
            client_uploads.send_form(self._store, path, ticket["post"], progress)
            return
        # The renewed ticket of a file that has arrived begins anew.
        if self.state(ticket["ticket"]).status == "waiting":
            client_uploads.send_parts(self._store, path, multipart, progress)

    def _result(self, task_id: str) -> Iterator[bytes]:
        """The pieces of a result, as `_pieces`."""
        expected = self._json("GET", f"/v1/tasks/{task_id}/record")["result_sha256"]
        yield from self._pieces(task_id, f"/v1/tasks/{task_id}/result", expected)

    def _pieces(self, task_id: str, path: str, expected: str) -> Iterator[bytes]:
        """The pieces of a file that the API links to. Raises `PermanentError` behind the
        last one where they are not what the record says.
        """
        link = self._link(task_id, path)
        digest = hashlib.sha256()
        try:
            with self._store.stream("GET", link) as response:
                response.raise_for_status()
                for piece in response.iter_bytes():
                    digest.update(piece)
                    yield piece
        except httpx.HTTPError as error:
            detail = f"the result of {task_id} cannot be fetched"
            raise TransientError(Code.STORAGE_UNAVAILABLE, detail) from error
        if digest.hexdigest() != expected:
            detail = f"the result of {task_id} is not what its record says"
            raise PermanentError(Code.INVALID_OUTPUT, detail)

    def _link(self, task_id: str, path: str) -> str:
        """The address that the API links to, if it is on a trusted server."""
        response = self._request("GET", path)
        link = urljoin(self._url, response.headers["location"])
        if _origin(link) not in self._trusted:
            detail = (
                f"the API gives a link to {_origin(link)} for {task_id}, "
                "which is neither its own server nor the store"
            )
            raise PermanentError(Code.STORAGE_UNAVAILABLE, detail)
        return link

    def _json(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        found: dict[str, Any] = self._request(method, path, **request).json()
        return found

    def _request(self, method: str, path: str, **request: Any) -> httpx.Response:
        """One request, repeated while the API asks for it and `retry_s` allows it."""
        deadline_s = time.monotonic() + self._retry_s
        while True:
            try:
                response = self._api.request(method, path, **request)
            except httpx.HTTPError as error:
                detail = f"{self._url} does not answer: {type(error).__name__}"
                raise TransientError(Code.INTERNAL, detail) from error
            if response.status_code < 400:
                return response
            pause_s = _pause_s(response)
            if pause_s is None or time.monotonic() + pause_s > deadline_s:
                raise _refusal(response)
            time.sleep(pause_s)


def _write_whole(to: Path, pieces: Iterator[bytes]) -> None:
    """Write a file with all pieces, or none."""
    part = to.with_name(f"{to.name}.part")
    try:
        with part.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        part.replace(to)
    finally:
        part.unlink(missing_ok=True)


def _content_type(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0] or ""
    return kind if kind.startswith("image/") else "application/octet-stream"


def _idempotency_key(path: Path, request: Mapping[str, Any]) -> str:
    """A name for this file with these wishes, in hexadecimal digits."""
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").digest()
    wishes = json.dumps(request, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content + wishes.encode()).hexdigest()


def _origin(url: str) -> str:
    """Scheme, host and port of a URL."""
    parts = httpx.URL(url)
    port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    return f"{parts.scheme}://{parts.host}:{port}"


def _pause_s(response: httpx.Response) -> float | None:
    """How long the API asks to wait; None where waiting does not help."""
    if response.status_code not in (429, 503):
        return None
    retry_after = response.headers.get("retry-after", "")
    return float(retry_after) if retry_after.isdigit() else DEFAULT_PAUSE_S


def _refusal(response: httpx.Response) -> PermanentError | TransientError:
    """The error for a response with a status of 400 or more, in the API's own words."""
    code = ""
    detail = f"HTTP {response.status_code} {response.reason_phrase}"
    with suppress(json.JSONDecodeError, KeyError, TypeError):
        problem = response.json()
        code, detail = problem["code"], problem["detail"]
    if code == Code.WORKFLOW_UNAVAILABLE:
        unavailable = f"{detail}; nothing was uploaded"
        return PermanentError(Code.WORKFLOW_UNAVAILABLE, unavailable)
    if response.status_code in (401, 403):
        return Unauthorized(detail)
    if response.status_code == 404:
        return NotFound(Code.SOURCE_MISSING, detail)
    if response.status_code < 500:
        return SettingsError(detail)
    away = Code(code) if code in list(Code) else Code.INTERNAL
    return TransientError(away, detail)
