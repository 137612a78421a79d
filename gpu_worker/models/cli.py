"""`python -m gpu_worker models list|verify|pull|add`: which models there are, whether
they are right; fetch, add.

`add FILE` gives a community model (.pth, .safetensors) a name by which workflows take
it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from gpu_worker import models
from gpu_worker.models import pull
from shared.errors import DarkroomError
from shared.models import Model, get, registry, use_local
from shared.runtime.settings import Settings
from shared.workflows import presets


def main(argv: list[str]) -> int:
    """Exit status: 0 when all that was asked is right, 1 when a model is missing,
    corrupt or could not be fetched.
    """
    parser = argparse.ArgumentParser(prog="darkroom models", description=__doc__)
    parser.add_argument("action", choices=["list", "verify", "pull", "add"])
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="models; for list and verify, none means all",
    )
    parser.add_argument(
        "--name", help="add: the model's name; without it that of the file"
    )
    parser.add_argument(
        "--licence", default="unknown", help="add: the licence of the weights"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object a line and nothing else",
    )
    asked = parser.parse_args(argv)
    if asked.action == "pull" and not asked.names:
        parser.error(
            "pull takes the names of models: all of them are gigabytes; `darkroom models list` has them"
        )
    settings = Settings.load()
    use_local(settings.models_dir)
    try:
        if asked.action == "add":
            chosen = [_added(parser, asked, settings)]
        else:
            chosen = [get(name) for name in asked.names] or list(registry().values())
    except DarkroomError as error:
        parser.error(error.detail)
    rows = [
        _row(asked.action, model, settings, named=bool(asked.names)) for model in chosen
    ]
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        print(json.dumps(row) if asked.json else _line(row, width))
    return int(any(row["fault"] for row in rows))


def _added(
    parser: argparse.ArgumentParser, asked: argparse.Namespace, settings: Settings
) -> Model:
    if len(asked.names) != 1 or not Path(asked.names[0]).is_file():
        parser.error("add takes one weights file")
    # torch takes seconds, and may not be installed
    from gpu_worker.engines import local

    return local.add(Path(asked.names[0]), asked.name, asked.licence, settings)


def _row(action: str, model: Model, settings: Settings, named: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": model.name,
        "title": model.title,
        "licence": model.licence,
        "sha256": model.sha256,
    }
    row |= {
        "bytes": sum(file.bytes or 0 for file in model.files),
        "workflows": _uses(model),
    }
    row |= {"state": "missing", "fault": None}
    try:
        if action == "pull":
            pull.pull(model, settings, sys.stderr)
        row["state"] = "present" if models.is_present(model, settings) else "missing"
        # Verifying everything means what is here; a model that was asked for by name
        # has to be here.
        if action != "list" and (named or row["state"] == "present"):
            models.verify(model, settings)
            row["state"] = "verified"
    except DarkroomError as error:
        row["fault"] = error.detail
    return row


def _uses(model: Model) -> list[str]:
    """The workflows that need it, unless they are told to use another one."""
    return [
        name
        for name, workflow in presets().items()
        if any(step.model == model.name for step in workflow.steps)
    ]


def _line(row: dict[str, Any], width: int) -> str:
    size = f"{row['bytes'] / 1e6:8.1f} MB"
    line = f"{row['name']:<{width}}  {row['state']:<9} {size}  {row['title']}  [{row['licence']}]"
    line += f"; for {', '.join(row['workflows'])}" if row["workflows"] else ""
    return f"{line}\n  {row['fault']}" if row["fault"] else line
