"""The manifest that goes out with an export: one row a photo, whatever became of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping

from infra.export.handed import Handed
from infra.ingest.progress import ItemState
from shared.uploads.ingests import path_of_file

COLUMNS = (
    "filename",
    "identifier",
    "status",
    "result",
    "task_id",
    "upload_id",
    "source_sha256",
    "source_bytes",
    "result_sha256",
    "result_bytes",
    "width",
    "height",
    "workflow",
    "workflow_version",
    "signature",
    "models",
    "seconds",
    "error_code",
    "error_detail",
    "notes",
    "finished_at",
    "original",
)


def row_of(state: ItemState, result: Handed | None) -> dict[str, object]:
    """What became of one photo; `result` is the file of its result in the export, of
    which checksum and size are told.
    """
    item, record = state.item, state.record
    row: dict[str, object] = {
        "filename": item.path,
        "identifier": item.words.get("identifier"),
        "status": state.status,
        "result": result.path if result else None,
        "result_sha256": result.sha256 if result else None,
        "result_bytes": result.bytes if result else None,
        "upload_id": item.upload_id,
        "source_sha256": item.sha256,
        "source_bytes": item.bytes,
        "error_code": state.code,
        "error_detail": state.detail,
    }
    if record:
        models = (f"{model.name}@{model.sha256[:12]}" for model in record.models)
        row |= {
            "task_id": record.task_id,
            "width": record.width,
            "height": record.height,
            "workflow": record.workflow.name,
            "workflow_version": record.workflow.version,
            "signature": record.workflow.signature,
            "models": "|".join(models),
            "seconds": round(record.duration_seconds, 2),
            "notes": "; ".join(record.notes),
            "finished_at": record.finished_at.isoformat(),
        }
    return row


def failed_row(state: ItemState) -> dict[str, object]:
    """A photo that failed, as the manifest of another `darkroom ingest` would have it."""
    return {
        **state.item.words,
        "filename": path_of_file(state.item.path or ""),
        "error_code": state.code,
        "error_detail": state.detail,
    }


def csv_of(columns: Iterable[str], rows: Iterable[Mapping[str, object]]) -> bytes:
    """Rows as CSV in UTF-8."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(columns), extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
