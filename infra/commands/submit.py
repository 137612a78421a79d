"""`darkroom submit PATH…`: upload photos and folders of photos, wait for them, fetch them."""

from __future__ import annotations

import hashlib
import json
import mimetypes
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from infra import uploads
from infra.uploads import Upload
from shared import models, workflows
from shared.errors import PermanentError, SettingsError
from shared.identity import canonical_json
from shared.settings import Settings
from shared.storage import S3Store

app = typer.Typer(add_completion=False)
PHOTOS = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".avif"}
POLL_S = 0.2
console = Console(stderr=True, highlight=False)


@dataclass
class Submitted:
    path: Path
    upload: Upload
    saved_as: Path | None = None

    def as_dict(self) -> dict[str, Any]:
        record, reason = self.upload.record, self.upload.reason
        return {
            "path": str(self.path), "upload_id": self.upload.upload_id, "status": self.upload.state,
            "task_id": self.upload.receipt.task_id if self.upload.receipt else None,
            "result_key": record.result_key if record else None,
            "saved_as": str(self.saved_as) if self.saved_as else None,
            "error_code": reason.error_code if reason else None,
            "error_detail": reason.error_detail if reason else None,
        }  # fmt: skip


@app.command()
def submit(
    paths: Annotated[list[Path], typer.Argument(help="Photos, and folders that are searched for photos.")],
    workflow: Annotated[str | None, typer.Option(help="Workflow; `darkroom workflows` lists them.")] = None,
    params: Annotated[str, typer.Option(help="Parameters as JSON: '{\"scale\": 2}'.")] = "{}",
    priority: Annotated[str, typer.Option(help="interactive overtakes bulk.")] = "interactive",
    wait: Annotated[bool, typer.Option("--wait", help="Wait until every photo has ended.")] = False,
    out: Annotated[Path | None, typer.Option(help="Fetch results into this folder (waits).")] = None,
    timeout_s: Annotated[float, typer.Option(help="Longest wait [s].")] = 3600.0,
    as_json: Annotated[bool, typer.Option("--json", help="Nothing but JSON on stdout.")] = False,
) -> None:
    """Upload photos; exit status 1 if any of those waited for was not restored."""
    settings = Settings.load()
    if not settings.s3_endpoint_url and not settings.api_url:
        raise SettingsError(f"no stack is running in {settings.state_dir}; start one with `darkroom up`")
    models.use_local(settings.models_dir)
    metadata = _metadata(workflow or settings.default_workflow, params, priority)
    files = _files(paths)
    store = S3Store(settings)
    with _progress() as progress:
        bar = progress.add_task("uploading", total=len(files))
        photos = []
        for path in files:
            photos.append(Submitted(path, _send(store, settings, path, metadata)))
            progress.advance(bar)
        in_time = not (wait or out) or _wait(store, settings, photos, progress, timeout_s)
    if out:
        _fetch(store, settings, photos, out)
    _show(photos, as_json)
    if not in_time or any(photo.upload.reason for photo in photos):
        raise typer.Exit(1)


def _metadata(workflow: str, params: str, priority: str) -> dict[str, str]:
    """Checked here, so that a slip costs no upload. Raises `SettingsError`; `PermanentError` names the rule."""
    try:
        given = json.loads(params)
    except json.JSONDecodeError as error:
        raise typer.BadParameter(f"--params is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise typer.BadParameter("--params is a JSON object, such as '{\"scale\": 2}'")
    if priority not in ("interactive", "bulk"):
        raise typer.BadParameter("--priority is interactive or bulk")
    try:
        resolved = workflows.resolve(workflow, given)
    except PermanentError as error:
        raise typer.BadParameter(error.detail) from error
    return {"workflow": resolved.ref.name, "params": json.dumps(given, sort_keys=True), "priority": priority}


def _files(paths: list[Path]) -> list[Path]:
    found = []
    for path in paths:
        if path.is_dir():
            found += sorted(f for f in path.rglob("*") if f.suffix.lower() in PHOTOS and f.is_file())
        elif path.is_file():
            found.append(path)
        else:
            raise typer.BadParameter(f"{path} does not exist")
    if not found:
        raise typer.BadParameter("no photo found; folders are searched for " + " ".join(sorted(PHOTOS)))
    return found


def _send(store: S3Store, settings: Settings, path: Path, metadata: dict[str, str]) -> Upload:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        # Bytes and request name the key, so that no upload ever overwrites another original.
        content = hashlib.sha256(digest + canonical_json(metadata)).hexdigest()[:16]
        key = f"incoming/{metadata['workflow']}/{content}/{path.name}"
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return uploads.of_object(store.put(settings.bucket_uploads, key, file, kind, metadata))


def _wait(store: S3Store, settings: Settings, photos: list[Submitted], progress: Progress, timeout_s: float) -> bool:
    bar = progress.add_task("restoring", total=len(photos))
    deadline_s = time.monotonic() + timeout_s
    waiting = list(photos)
    while waiting and time.monotonic() < deadline_s:
        for photo in list(waiting):
            uploads.look(store, settings, photo.upload)
            if photo.upload.ended:
                waiting.remove(photo)
                progress.advance(bar)
        time.sleep(POLL_S)
    return not waiting


def _fetch(store: S3Store, settings: Settings, photos: list[Submitted], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for photo in photos:
        if photo.upload.record:
            photo.saved_as = _free(out, photo.path.stem)
            photo.saved_as.write_bytes(store.read(settings.bucket_results, photo.upload.record.result_key))


def _free(folder: Path, stem: str) -> Path:
    """A name that nothing has yet: `photo.png`, `photo-2.png`, …"""
    path, number = folder / f"{stem}.png", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}.png"
    return path


def _show(photos: list[Submitted], as_json: bool) -> None:
    if as_json:
        print(json.dumps([photo.as_dict() for photo in photos], indent=2))
        return
    names = ("photo", "status", "task", "size", "seconds", "saved as")
    table = Table(*(Column(name, overflow="fold") for name in names))  # whole ids, however narrow the terminal
    for photo in photos:
        record, reason = photo.upload.record, photo.upload.reason
        size = f"{record.source.width}×{record.source.height} → {record.width}×{record.height}" if record else ""
        table.add_row(
            photo.path.name, f"{photo.upload.state}: {reason.error_detail}" if reason else photo.upload.state,
            photo.upload.receipt.task_id if photo.upload.receipt else photo.upload.upload_id, size,
            f"{record.duration_seconds:.1f}" if record else "", str(photo.saved_as or ""),
        )  # fmt: skip
    Console().print(table)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)
