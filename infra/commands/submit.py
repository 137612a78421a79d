"""`darkroom submit PATH…`: upload photos and folders of photos, wait for them, fetch
them.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column, Table

from infra import uploads
from infra.api_client import Api
from infra.commands.require_stack import no_stack
from infra.terminal import shown
from infra.uploads import Upload
from shared import models, workflows
from shared.errors import Code, PermanentError
from shared.offers import Offers, sentence
from shared.runtime.settings import Settings
from shared.s3.store import S3Store
from shared.uploads.identity import canonical_json
from shared.workflows import ResolvedWorkflow

app = typer.Typer(add_completion=False)
PHOTOS = {
    ".jpg",
    ".jpeg",
    ".png",
    ".webp",
    ".tif",
    ".tiff",
    ".bmp",
    ".gif",
    ".heic",
    ".avif",
}
POLL_S = 0.2
console = Console(stderr=True, highlight=False)


class Photo(Protocol):
    """A photo on its way, by the bucket or through the API. `fault`: why it has no
    result.
    """

    path: Path

    @property
    def ended(self) -> bool: ...

    @property
    def restored(self) -> bool: ...

    @property
    def fault(self) -> str | None: ...

    def look(self) -> None: ...

    def save(self, to: Path) -> None: ...

    def as_dict(self) -> dict[str, Any]: ...

    def row(self) -> tuple[str, ...]: ...


@dataclass
class Submitted:
    """A photo that was put into the bucket, where all is read that becomes of it."""

    store: S3Store
    settings: Settings
    path: Path
    upload: Upload
    saved_as: Path | None = None

    @property
    def ended(self) -> bool:
        return self.upload.ended

    @property
    def restored(self) -> bool:
        return self.upload.record is not None

    @property
    def fault(self) -> str | None:
        return self.upload.reason.error_detail if self.upload.reason else None

    def look(self) -> None:
        uploads.look(self.store, self.settings, self.upload)

    def save(self, to: Path) -> None:
        assert self.upload.record is not None
        to.write_bytes(
            self.store.read(self.settings.bucket_results, self.upload.record.result_key)
        )
        self.saved_as = to

    def row(self) -> tuple[str, ...]:
        record, receipt = self.upload.record, self.upload.receipt
        size = (
            f"{record.source.width}×{record.source.height} → {record.width}×{record.height}"
            if record
            else ""
        )
        return (
            self.path.name,
            f"{self.upload.state}: {self.fault}" if self.fault else self.upload.state,
            receipt.task_id if receipt and receipt.task_id else self.upload.upload_id,
            size,
            f"{record.duration_seconds:.1f}" if record else "",
            str(self.saved_as or ""),
        )

    def as_dict(self) -> dict[str, Any]:
        record, reason = self.upload.record, self.upload.reason
        return {
            "path": str(self.path),
            "upload_id": self.upload.upload_id,
            "status": self.upload.state,
            "task_id": self.upload.receipt.task_id if self.upload.receipt else None,
            "result_key": record.result_key if record else None,
            "saved_as": str(self.saved_as) if self.saved_as else None,
            "error_code": reason.error_code if reason else None,
            "error_detail": reason.error_detail if reason else None,
        }


@app.command()
def submit(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH…", help="Photos, and folders that are searched for photos."
        ),
    ],
    workflow: Annotated[
        str | None, typer.Option(help="Workflow; `darkroom workflows` lists them.")
    ] = None,
    params: Annotated[
        str, typer.Option(help="Parameters as JSON: '{\"scale\": 2}'.")
    ] = "{}",
    priority: Annotated[
        str, typer.Option(help="interactive overtakes bulk.")
    ] = "interactive",
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until every photo has ended.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Fetch results into this folder (waits).")
    ] = None,
    api: Annotated[
        str | None,
        typer.Option(help="Through this HTTP API, as an app does, not by the bucket."),
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Key of the API; DARKROOM_API_KEY without it.")
    ] = None,
    timeout_s: Annotated[float, typer.Option(help="Longest wait [s].", min=0)] = 3600.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Nothing but JSON on stdout.")
    ] = False,
) -> None:
    """Upload photos; exit status 1 if any of those waited for was not restored."""
    settings = Settings.load()
    files = _files(paths)
    send = (
        _by_bucket(settings, workflow, params, priority)
        if api is None
        else _by_api(
            Api(api, key or settings.api_key.get_secret_value(), timeout_s),
            workflow,
            params,
            priority,
        )
    )
    if out:
        _make_folder(out)
    with _progress() as progress:
        bar = progress.add_task("uploading", total=len(files))
        photos = []
        for path in files:
            photos.append(send(path))
            progress.advance(bar)
        in_time = not (wait or out) or _wait(photos, progress, timeout_s)
    if out:
        _fetch(photos, out)
    _show(photos, as_json)
    if not in_time or any(photo.fault for photo in photos):
        raise typer.Exit(1)


def _by_bucket(
    settings: Settings, workflow: str | None, params: str, priority: str
) -> Callable[[Path], Photo]:
    if not settings.s3_endpoint_url and not settings.api_url:
        raise no_stack(settings)
    models.use_local(settings.models_dir)
    metadata, store = (
        _metadata(workflow or settings.default_workflow, params, priority),
        S3Store(settings),
    )
    _tell_unavailable(
        store, settings, workflows.resolve(metadata["workflow"], _params(params))
    )
    return lambda path: Submitted(
        store, settings, path, _send(store, settings, path, metadata)
    )


def _tell_unavailable(
    store: S3Store, settings: Settings, workflow: ResolvedWorkflow
) -> None:
    """Before anything is sent. Raises `PermanentError(workflow_unavailable)` for what
    would be refused.
    """
    lack = Offers(store, settings).lack(workflow)
    if lack and settings.unavailable == "reject":
        raise PermanentError(
            Code.WORKFLOW_UNAVAILABLE,
            f"{sentence(workflow, lack)}; nothing was uploaded",
        )
    if lack:
        console.print(f"{sentence(workflow, lack)}; it waits for that", markup=False)


def _by_api(
    api: Api, workflow: str | None, params: str, priority: str
) -> Callable[[Path], Photo]:
    """The API knows its own workflows, and says what is wrong with a wish."""
    wanted: dict[str, Any] = {
        "params": _params(params),
        "priority": _priority(priority),
    }
    if workflow:
        wanted["workflow"] = workflow
    return lambda path: api.send(path, wanted)


def _metadata(workflow: str, params: str, priority: str) -> dict[str, str]:
    """Checked here, so that a slip costs no upload. Raises `typer.BadParameter`, which
    names the rule.
    """
    given = _params(params)
    try:
        resolved = workflows.resolve(workflow, given)
    except PermanentError as error:
        raise typer.BadParameter(error.detail) from error
    return {
        "workflow": resolved.ref.name,
        "params": json.dumps(given, sort_keys=True),
        "priority": _priority(priority),
    }


def _params(text: str) -> dict[str, Any]:
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        raise typer.BadParameter(f"--params is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise typer.BadParameter("--params is a JSON object, such as '{\"scale\": 2}'")
    return given


def _priority(text: str) -> str:
    if text not in ("interactive", "bulk"):
        raise typer.BadParameter("--priority is interactive or bulk")
    return text


def _files(paths: list[Path]) -> list[Path]:
    found = []
    for path in paths:
        if path.is_dir():
            found += sorted(
                f for f in path.rglob("*") if f.suffix.lower() in PHOTOS and f.is_file()
            )
        elif path.is_file():
            found.append(path)
        else:
            raise typer.BadParameter(f"{path} does not exist")
    if not found:
        raise typer.BadParameter(
            "no photo found; folders are searched for " + " ".join(sorted(PHOTOS))
        )
    return found


def _make_folder(path: Path) -> None:
    """Before anything is sent. Raises `typer.BadParameter`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(
            f"--out {path} cannot be made a folder: {error.strerror}"
        ) from error


def _send(
    store: S3Store, settings: Settings, path: Path, metadata: dict[str, str]
) -> Upload:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        # Bytes and request name the key, so that no upload ever overwrites another
        # original.
        content = hashlib.sha256(digest + canonical_json(metadata)).hexdigest()[:16]
        key = f"incoming/{metadata['workflow']}/{content}/{path.name}"
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return uploads.of_object(
            store.put(settings.bucket_uploads, key, file, kind, metadata)
        )


def _wait(photos: Sequence[Photo], progress: Progress, timeout_s: float) -> bool:
    bar = progress.add_task("restoring", total=len(photos))
    deadline_s = time.monotonic() + timeout_s
    waiting = list(photos)
    while waiting and time.monotonic() < deadline_s:
        for photo in list(waiting):
            photo.look()
            if photo.ended:
                waiting.remove(photo)
                progress.advance(bar)
        time.sleep(POLL_S)
    return not waiting


def _fetch(photos: Sequence[Photo], out: Path) -> None:
    for photo in photos:
        if photo.restored:
            photo.save(_free(out, photo.path.stem))


def _free(folder: Path, stem: str) -> Path:
    """A name that nothing has yet: `photo.png`, `photo-2.png`, …"""
    path, number = folder / f"{stem}.png", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}.png"
    return path


def _show(photos: Sequence[Photo], as_json: bool) -> None:
    if as_json:
        print(json.dumps([photo.as_dict() for photo in photos], indent=2))
        return
    names = ("photo", "status", "task", "size", "seconds", "saved as")
    # whole ids, however narrow the terminal
    table = Table(*(Column(name, overflow="fold") for name in names))
    for photo in photos:
        table.add_row(*(shown(cell) for cell in photo.row()))
    Console(markup=False).print(table)  # a file may be named [like this]


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console)
