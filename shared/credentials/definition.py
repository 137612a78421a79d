"""What content credentials say of a result: its record in the words of C2PA 2.4.

Titles are ids, never the names of files, which may name people.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from pathlib import PurePosixPath
from typing import Any

from shared.credentials.places import media_type
from shared.uploads.documents import Record, StepTime

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
ENHANCED = f"{SOURCE_TYPES}algorithmicallyEnhanced"
COMPOSITE = f"{SOURCE_TYPES}compositeWithTrainedAlgorithmicMedia"
"""Where a trained model put in what the photo did not hold."""
ORIGINAL = "original"
"""The name of the parent ingredient."""
_ACTIONS = {
    "colorize": ("c2pa.adjustedColor", COMPOSITE),
    "faces": ("c2pa.edited", COMPOSITE),
    "upscale": ("c2pa.enhanced", ENHANCED),
    "denoise": ("c2pa.enhanced", ENHANCED),
    "dehaze": ("c2pa.adjustedColor", ENHANCED),
    "repair": ("c2pa.edited", ENHANCED),
    "finish": ("c2pa.enhanced", ENHANCED),
}
"""Step → the action that it is, and its digital source type. What is no step of a
workflow (encoding, copies) is no action.
"""


def original_type(record: Record) -> str:
    """The media type of a record's original."""
    return f"image/{(record.source.format or 'unknown').lower()}"


def definition(record: Record, key: str) -> dict[str, Any]:
    """The manifest of a file of a result, as the C2PA library takes it; the original is
    added as its parent where it is at hand. `key`: of the file, as it lies in the bucket,
    or would.
    """
    return {
        "claim_generator_info": [{"name": "Darkroom", "version": record.software}],
        "title": f"{record.task_id}{PurePosixPath(key).suffix}",
        "format": media_type(key),
        "assertions": [
            {
                "label": "c2pa.actions.v2",
                "created": True,
                "data": {
                    "actions": list(_actions(record, key)),
                    "allActionsIncluded": True,
                },
            },
            {
                "label": "org.darkroom.record",
                "created": True,
                "data": _facts(record),
            },
        ],
    }


def parent(record: Record) -> dict[str, Any]:
    """The original as the ingredient that the result came of."""
    return {
        "title": ORIGINAL,
        "format": original_type(record),
        "relationship": "parentOf",
        "label": ORIGINAL,
        "instance_id": f"urn:uuid:{record.upload_id}",
    }


def _actions(record: Record, key: str) -> Iterator[dict[str, Any]]:
    yield {"action": "c2pa.opened", "parameters": {"ingredientIds": [ORIGINAL]}}
    for step in record.steps:
        if step.step in _ACTIONS and step.skipped is None:
            yield _of_step(record, step)
    source = (record.source.width or 0, record.source.height or 0)
    when = _when(record)
    # A photo that lies on its side in the file is upright in the result.
    if sorted(source) != sorted((record.width, record.height)):
        yield {"action": "c2pa.resized.proportional", "when": when}
    before, after = original_type(record), media_type(key)
    if before != after:
        formats = {"org.darkroom.from": before, "org.darkroom.to": after}
        yield {"action": "c2pa.transcoded", "when": when, "parameters": formats}


def _of_step(record: Record, step: StepTime) -> dict[str, Any]:
    action, source_type = _ACTIONS[step.step]
    # A network that fills what is missing draws it; without one it is taken from around.
    if step.step == "repair" and step.model:
        source_type = COMPOSITE
    told: dict[str, Any] = {
        "org.darkroom.step": step.step,
        "org.darkroom.params": step.detail,
    }
    for model in record.models:
        if model.name == step.model:
            told["org.darkroom.model"] = model.model_dump()
    return {
        "action": action,
        "when": _when(record),
        "softwareAgent": {"name": "Darkroom", "version": record.software},
        "digitalSourceType": source_type,
        "parameters": told,
    }


def _facts(record: Record) -> dict[str, Any]:
    source = record.source
    return {
        "task_id": record.task_id,
        "workflow": record.workflow.model_dump(),
        "models": [model.model_dump() for model in record.models],
        "engine": record.engine,
        "software": record.software,
        "source": {"sha256": source.sha256, "bytes": source.bytes},
        "result": {"sha256": record.result_sha256, "bytes": record.result_bytes},
    }


def _when(record: Record) -> str:
    return record.finished_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
