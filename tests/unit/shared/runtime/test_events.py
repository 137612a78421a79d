"""The list of log events in `shared.runtime.telemetry` and the code agree, both ways."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from shared.runtime.telemetry import EVENTS

ROOT = Path(__file__).parents[4]
TELEMETRY = ROOT / "shared" / "runtime" / "telemetry.py"
FILES = [
    path
    for package in ("handlers", "gpu_worker", "shared", "infra")
    for path in sorted((ROOT / package).rglob("*.py"))
]
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
EVENT = re.compile(r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*")


def logged(tree: ast.AST) -> Iterator[str]:
    """Names that are given to a logger as they are."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr in LEVELS and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value


def texts(tree: ast.AST) -> Iterator[str]:
    """All string constants: a name may be chosen first and logged then."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@cache
def trees() -> dict[Path, ast.AST]:
    return {path: ast.parse(path.read_bytes()) for path in FILES}


def test_every_event_that_is_logged_is_listed() -> None:
    """By its exact name."""
    names = {
        name
        for tree in trees().values()
        for name in logged(tree)
        if EVENT.fullmatch(name)
    }
    assert len(names) > 50, "the names of events are no longer found in the code"
    assert names - EVENTS.keys() == set()


def test_every_event_that_is_listed_is_in_the_code() -> None:
    """A name that is put together from parts cannot be found by who reads a log."""
    found = set(logged(trees()[TELEMETRY]))
    for path, tree in trees().items():
        if path != TELEMETRY:
            found.update(texts(tree))
    assert EVENTS.keys() - found == set()
