"""`python -m infra.bench NAME OPTIONS`: one bench of a wing, started by `darkroom bench`.
OPTIONS are a JSON object: the keyword arguments of the bench's `run`.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module

from shared import models
from shared.errors import DarkroomError
from shared.runtime import telemetry
from shared.runtime.settings import Settings

MODULES = {
    "engine": "infra.bench.engine",
    "breakdown": "infra.bench.breakdown",
    "metrics": "infra.bench.watching",
    "engine_alone": "infra.bench.engine_alone",
    "stand_in": "infra.bench.stand_in",
    "handlers": "infra.bench.uploads",
    "recorder": "infra.bench.records",
    "backlog": "infra.bench.backlog",
    "sweep": "infra.bench.sweep",
    "api": "infra.bench.api",
    "tiles": "infra.bench.pyramids",
    "credentials": "infra.bench.credentials",
}
"""Each module has `run(settings, **options)`, which returns the exit status. Only the
one asked for is imported: the other wing need not be installed.
"""


def main(arguments: list[str]) -> int:
    """Exit status 1 where the bench could not be run."""
    name, options = arguments
    try:
        settings = Settings.load()
        models.use_local(settings.models_dir)
        telemetry.configure(settings, "bench")  # stdout belongs to the figures
        status: int = import_module(MODULES[name]).run(settings, **json.loads(options))
    except DarkroomError as error:
        print(f"darkroom: {error.detail}", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
