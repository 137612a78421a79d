"""`python -m gpu_worker`: the worker process. With `models …`: its models. With `bench
…`: its engines, measured.
"""

from __future__ import annotations

import sys

from shared import models
from shared.errors import DarkroomError
from shared.runtime import failpoints, telemetry
from shared.runtime.settings import Settings


def main(argv: list[str]) -> int:
    try:
        settings = Settings.load()
        if argv[:1] == ["models"]:
            from gpu_worker.models import cli

            return cli.main(argv[1:])
        if argv[:1] == ["bench"]:
            from gpu_worker import bench

            return bench.main(argv[1:])
        from gpu_worker import worker

        models.use_local(settings.models_dir)
        telemetry.configure(settings, "worker")
        failpoints.arm(settings.failpoint)
        return worker.main(settings)
    except DarkroomError as error:
        print(f"darkroom: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
