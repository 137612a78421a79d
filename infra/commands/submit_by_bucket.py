"""`darkroom submit` by the bucket: a photo is put there, and its fate is read there."""

from __future__ import annotations

import hashlib
import json
import mimetypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from infra import uploads
from infra.commands.no_stack import no_stack
from infra.commands.submit_by_api import Wishes, copy_name
from infra.uploads import Upload
from shared import models, workflows
from shared.errors import Code, PermanentError
from shared.offers import Offers, sentence
from shared.runtime.settings import Settings, UploadSettings
from shared.s3.store import S3Store
from shared.uploads import formats
from shared.uploads.identity import canonical_json
from shared.uploads.ref import upload_id_of
from shared.workflows import ResolvedWorkflow

console = Console(stderr=True, highlight=False)


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
        return self.upload.fault.error_detail if self.upload.fault else None

    def look(self) -> None:
        uploads.look(self.store, self.settings, self.upload)

    def save(self, to: Path) -> None:
        record = self.upload.record
        assert record is not None
        self._save(record.result_key, to)
        self.saved_as = to
        for copy in record.copies:
            name = copy_name(to, copy.key, record.task_id)
            if name != to:
                self._save(copy.key, name)

    def _save(self, key: str, to: Path) -> None:
        to.write_bytes(self.store.read(self.settings.bucket_results, key))

    def row(self) -> tuple[str, ...]:
        record = self.upload.record
        size = (
            f"{record.source.width}×{record.source.height} → {record.width}×{record.height}"
            if record
            else ""
        )
        return (
            self.path.name,
            f"{self.upload.state}: {self.fault}" if self.fault else self.upload.state,
            self._task_or_upload(),
            size,
            f"{record.duration_seconds:.1f}" if record else "",
            str(self.saved_as or ""),
        )

    def _task_or_upload(self) -> str:
        receipt = self.upload.receipt
        if receipt and receipt.task_id:
            return receipt.task_id
        return f"upload {self.upload.upload_id}"

    def as_dict(self) -> dict[str, Any]:
        record, fault = self.upload.record, self.upload.fault
        return {
            "path": str(self.path),
            "upload_id": self.upload.upload_id,
            "status": self.upload.state,
            "task_id": self.upload.receipt.task_id if self.upload.receipt else None,
            "result_key": record.result_key if record else None,
            "saved_as": str(self.saved_as) if self.saved_as else None,
            "error_code": fault.error_code if fault else None,
            "error_detail": fault.error_detail if fault else None,
        }


def sender(wishes: Wishes) -> Callable[[Path], Submitted]:
    """What puts one photo into the bucket of the running stack, or of servers that the
    environment names. Raises `SettingsError` where there is neither.
    """
    settings = Settings.load()
    if not settings.s3_endpoint_url and not settings.api_url:
        raise no_stack(settings.state_dir)
    models.use_local(settings.models_dir)
    store = S3Store(settings)
    workflows.use(workflows.Shelf(store, settings.bucket_results))
    resolved = resolved_by(wishes.workflow, wishes.params, settings)
    if wishes.mask and "mask" not in resolved.ref.params:
        detail = (
            f"the workflow {resolved.ref.name} takes no mask; `--workflow repair` does"
        )
        raise typer.BadParameter(detail)
    tell_unavailable(store, settings, resolved)
    metadata = _metadata(resolved, wishes)

    def send(path: Path) -> Submitted:
        upload = _send(store, settings, path, metadata, wishes.mask)
        return Submitted(store, settings, path, upload)

    return send


def tell_unavailable(
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


def resolved_by(
    workflow: str | None, params: dict[str, Any], settings: UploadSettings
) -> ResolvedWorkflow:
    """Checked here, so that a slip costs no upload. Raises `typer.BadParameter`, which
    names the rule.
    """
    try:
        name = workflow or settings.default_workflow
        return workflows.asked(name, params, settings.usual_params)
    except PermanentError as error:
        raise typer.BadParameter(error.detail) from error


def _metadata(workflow: ResolvedWorkflow, wishes: Wishes) -> dict[str, str]:
    """What the object says of itself: the request, in ASCII whatever it holds."""
    metadata = {
        "workflow": workflow.ref.name,
        "params": json.dumps(wishes.params, sort_keys=True),
        "priority": wishes.priority,
    }
    if wishes.formats is not None:
        metadata["formats"] = ",".join(wishes.formats) or formats.NO_FORMATS
    if wishes.page > 1:
        metadata["page"] = str(wishes.page)
    return metadata


def _send(
    store: S3Store,
    settings: Settings,
    path: Path,
    metadata: dict[str, str],
    mask: Path | None = None,
) -> Upload:
    bucket = settings.bucket_uploads
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        painted = mask.read_bytes() if mask else b""
        # Bytes and request name the key, so that no upload ever overwrites another
        # original.
        request = digest + canonical_json(metadata) + painted
        content = hashlib.sha256(request).hexdigest()[:16]
        folder = f"incoming/{metadata['workflow']}/{content}"
        if mask:
            # First, so that it is there when the photo is looked at.
            beside = f"{folder}/{path.stem}.mask.png"
            store.put(bucket, beside, painted, "image/png", metadata)
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        key = f"{folder}/{path.name}"
        sent = store.put(bucket, key, file, kind, metadata)
    return Upload(upload_id_of(sent), store.head(bucket, key).last_modified)
