"""`python -m handlers http|recorder|sweep|rebuild`: one process of the handlers, put together here."""

from __future__ import annotations

import importlib
import sys

from shared import failpoints, telemetry
from shared.errors import SettingsError
from shared.settings import Settings

PROCESSES = {
    "http": "handlers.http",
    "recorder": "handlers.recorder",
    "sweep": "handlers.sweeper",
}
"""Each module has `main(settings)`. Only the one asked for is imported: no process needs what it does not use."""


def main(arguments: list[str]) -> int:
    """Exit status 2 for wrong usage or wrong settings."""
    if len(arguments) != 1 or arguments[0] not in PROCESSES:
        print(f"usage: python -m handlers {'|'.join(PROCESSES)}", file=sys.stderr)
        return 2
    name = arguments[0]
    try:
        settings = Settings.load()
        telemetry.configure(settings, name)
        failpoints.arm(settings.failpoint)
        importlib.import_module(PROCESSES[name]).main(settings)
    except SettingsError as error:
        print(error.detail, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
