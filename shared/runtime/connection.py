"""Where the HTTP API is, and the key for it: all that a client has to know.

These are read without the settings of the services, whose library the base install does
not have.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from shared.runtime import environment
from shared.runtime.environment import PREFIX

STACK_FILE = "stack.env"
"""Name of the file in which a running stack leaves its addresses and secrets."""
STATE_DIR = Path(".darkroom")


@dataclass(frozen=True)
class Connection:
    """The address of an API and a key; both are empty where nothing names one."""

    api_url: str
    api_key: str = field(repr=False)
    state_dir: Path

    @classmethod
    def load(cls) -> Connection:
        """The connection by the environment, then by the running stack's file."""
        state_dir = Path(environment.state_dir() or STATE_DIR)
        known = _stack_variables(state_dir / STACK_FILE) | environment.variables()
        return cls(
            api_url=known.get(f"{PREFIX}API_URL", ""),
            api_key=known.get(f"{PREFIX}API_KEY", ""),
            state_dir=state_dir,
        )


def _stack_variables(path: Path) -> dict[str, str]:
    """The variables of a stack's file; none where no stack runs."""
    if not path.is_file():
        return {}
    pairs = (line.partition("=") for line in path.read_text().splitlines())
    return {name: _unquoted(value) for name, _, value in pairs}


def _unquoted(value: str) -> str:
    """A value as `darkroom up` quotes it: in single quotes, with backslashes."""
    if not value.startswith("'"):
        return value
    return re.sub(r"\\(.)", r"\1", value[1:-1])
