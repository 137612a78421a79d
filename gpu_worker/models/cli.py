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
from shared.runtime.settings import ModelSettings, Settings
from shared.workflows import presets


def main(argv: list[str]) -> int:
    """Run one action and print a line for each model.

    Exit status: 0 when every model named is right, 1 when one is missing, corrupt or
    could not be fetched.
    """
    parser = _parser()
    args = parser.parse_args(argv)
    if args.action == "pull" and not args.names:
        parser.error(
            "pull takes the names of models: all of them are gigabytes; `darkroom models list` has them"
        )
    settings = Settings.load()
    use_local(settings.models_dir)
    chosen = _chosen(parser, args, settings)
    rows = [_row(args, model, settings) for model in chosen]
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        print(json.dumps(row) if args.json else _line(row, width))
    has_fault = any(row["fault"] for row in rows)
    return int(has_fault)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="darkroom models", description=__doc__)
    parser.add_argument("action", choices=["list", "verify", "pull", "add"])
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="models; for list and verify, none means all",
    )
    parser.add_argument(
        "--name",
        help="add: the model's name; without it that of the file",
    )
    parser.add_argument(
        "--licence",
        default="unknown",
        help="add: the licence of the weights",
    )
    parser.add_argument(
        "--accept-licence",
        action="store_true",
        help="pull: also models whose licence forbids some uses",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object a line and nothing else",
    )
    return parser


def _chosen(
    parser: argparse.ArgumentParser,
    args: argparse.Namespace,
    settings: ModelSettings,
) -> list[Model]:
    """The models to show; exits with a message when a name or a file is wrong."""
    try:
        if args.action == "add":
            return [_added(parser, args, settings)]
        named = [get(name) for name in args.names]
    except DarkroomError as error:
        parser.error(error.detail)
    return named or list(registry().values())


def _added(
    parser: argparse.ArgumentParser,
    args: argparse.Namespace,
    settings: ModelSettings,
) -> Model:
    paths = [Path(name) for name in args.names]
    if len(paths) != 1 or not paths[0].is_file():
        parser.error("add takes one weights file")
    # Imported here: torch takes seconds, and may not be installed.
    from gpu_worker.engines import local

    return local.add(paths[0], args.name, args.licence, settings)


def _row(
    args: argparse.Namespace,
    model: Model,
    settings: ModelSettings,
) -> dict[str, Any]:
    """What there is to say about a model, once the action is done."""
    row: dict[str, Any] = {
        "name": model.name,
        "title": model.title,
        "licence": model.licence,
        "sha256": model.sha256,
        "bytes": sum(file.bytes or 0 for file in model.files),
        "workflows": _workflows_with(model),
        "state": "missing",
        "fault": None,
    }
    try:
        if args.action == "pull":
            pull.check_accepted(model, args.accept_licence)
            pull.pull(model, settings, sys.stderr)
        if models.is_present(model, settings):
            row["state"] = "present"
        # `verify` without names means whatever is here; a model that was named has to
        # be here.
        is_due = bool(args.names) or row["state"] == "present"
        if args.action != "list" and is_due:
            models.verify(model, settings)
            row["state"] = "verified"
    except DarkroomError as error:
        row["fault"] = error.detail
    return row


def _workflows_with(model: Model) -> list[str]:
    """The workflows that use `model` unless another one is chosen for them."""
    names = []
    for name, workflow in presets().items():
        if any(step.model == model.name for step in workflow.steps):
            names.append(name)
    return names


def _line(row: dict[str, Any], width: int) -> str:
    size = f"{row['bytes'] / 1e6:8.1f} MB" if row["bytes"] else f"{'?':>8} MB"
    line = f"{row['name']:<{width}}  {row['state']:<9} {size}  {row['title']}  [{row['licence']}]"
    if row["workflows"]:
        line += f"; for {', '.join(row['workflows'])}"
    if row["fault"]:
        line += f"\n  {row['fault']}"
    return line
