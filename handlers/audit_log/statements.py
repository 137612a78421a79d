"""SQL files with several statements, by name."""

from __future__ import annotations

import re
from pathlib import Path


def load(path: Path) -> dict[str, str]:
    """Return the statements of an SQL file by name, without their comments."""
    _, *parts = re.split(r"^-- name: (\w+)$", path.read_text(), flags=re.MULTILINE)
    names = parts[0::2]
    bodies = parts[1::2]
    statements = {}
    for name, body in zip(names, bodies, strict=True):
        without_comments = re.sub(r"^--.*\n", "", body, flags=re.MULTILINE)
        statements[name] = without_comments.strip()
    return statements
