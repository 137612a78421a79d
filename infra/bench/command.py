"""Command lines of processes that a bench starts."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping


def python_command(module: str, *arguments: str) -> list[str]:
    """`python -m module arguments`."""
    # -P: what is installed, not a folder of that name in the working directory.
    return [sys.executable, "-P", "-m", module, *arguments]


def bench_command(name: str, options: Mapping[str, object]) -> list[str]:
    """`python -m infra.bench name options`; `options` are values of JSON."""
    return python_command("infra.bench", name, json.dumps(options))
