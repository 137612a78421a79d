"""The presets: one JSON file for each workflow."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import ValidationError

from shared.workflows.schema import Workflow

PRESETS = Path(__file__).parent / "presets"


@cache
def presets() -> dict[str, Workflow]:
    """All presets by name. Raises `ValueError`, naming the file, for one that breaks
    the schema.
    """
    found = {}
    for path in sorted(PRESETS.glob("*.json")):
        try:
            workflow = Workflow.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise ValueError(f"workflow file {path.name}: {error}") from error
        if workflow.name != path.stem:
            raise ValueError(
                f"workflow file {path.name} is named {workflow.name!r} inside"
            )
        found[workflow.name] = workflow
    return found
