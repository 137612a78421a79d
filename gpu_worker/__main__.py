"""`python -m gpu_worker`: the worker process. With `models …`: its models;
with `rerun …`: photos restored again; with `convert`: results in other formats."""

from __future__ import annotations

import sys

from shared import models
from shared.errors import DarkroomError
from shared.runtime import failpoints, telemetry, tracing
from shared.runtime.settings import Settings


def main(argv: list[str]) -> int:
    """Run what the first argument names, or the worker; the exit status."""
    action = argv[0] if argv else ""
    try:
        settings = Settings.load()  # wrong settings are refused for every action
        if action == "models":
            return _models(argv[1:])
        if action == "rerun":
            return _rerun(argv[1:])
        if action == "convert":
            return _convert(argv[1:])
        return _worker(settings)
    except DarkroomError as error:
        print(f"darkroom: {error}", file=sys.stderr)
        return 1


# Each imports what it needs only when it runs: an engine takes seconds.


def _models(argv: list[str]) -> int:
    from gpu_worker.models import cli

    return cli.main(argv)


def _rerun(argv: list[str]) -> int:
    from gpu_worker import rerun

    return rerun.main(argv)


def _convert(argv: list[str]) -> int:
    from gpu_worker import convert

    return convert.main(argv)


def _worker(settings: Settings) -> int:
    from gpu_worker import worker

    models.use_local(settings.models_dir)
    telemetry.configure(settings, "worker")
    tracing.start("worker")
    failpoints.arm(settings.failpoint)
    return worker.main(settings)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
