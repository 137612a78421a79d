"""`python -m handlers http|recorder|sweep|rebuild|stats|log|callbacks`: one process of the
handlers, put together here.
"""

from __future__ import annotations

import importlib
import sys

from shared import models
from shared.errors import DarkroomError, SettingsError
from shared.runtime import failpoints, telemetry, tracing
from shared.runtime.settings import Settings

PROCESSES = {
    "http": "handlers.processes.http_server",
    "recorder": "handlers.processes.recorder",
    "sweep": "handlers.processes.sweeper",
    "rebuild": "handlers.reconcile.rebuild_log",
    "stats": "handlers.reports.stats_cli",
    "retention": "handlers.retention.cli",
    "log": "handlers.log_archive.cli",
    "callbacks": "handlers.processes.webhook_dispatcher",
}
"""Each module has `main(settings)`. Only the one asked for is imported: no process
needs what it does not use.
"""

WITH_ARGUMENTS = {"sweep", "rebuild", "stats", "retention", "log", "callbacks"}
"""Their `main(settings, arguments)` takes what follows on the command line and may
return an exit status.
"""


def main(arguments: list[str]) -> int:
    """Exit status 2 for wrong usage or wrong settings, 1 where the work could not be
    done.
    """
    name, rest = (arguments or [""])[0], arguments[1:]
    if name not in PROCESSES or (rest and name not in WITH_ARGUMENTS):
        print(f"usage: python -m handlers {'|'.join(PROCESSES)}", file=sys.stderr)
        return 2
    try:
        settings = Settings.load()
        telemetry.configure(settings, name)
        tracing.start(name)
        failpoints.arm(settings.failpoint)
        models.use_local(settings.models_dir)
        start = importlib.import_module(PROCESSES[name]).main
        return (start(settings, rest) if rest else start(settings)) or 0
    except DarkroomError as error:
        print(f"darkroom: {error.detail}", file=sys.stderr)
        return 2 if isinstance(error, SettingsError) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
