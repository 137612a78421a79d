"""`python -m infra.backup`: the process that backs up again and again."""

from __future__ import annotations

import sys

from infra.backup import process
from shared.errors import DarkroomError, SettingsError
from shared.runtime import failpoints, telemetry
from shared.runtime.settings import Settings


def main(arguments: list[str]) -> int:
    """Exit status 2 for wrong settings. `follow`: what is new is copied at once."""
    try:
        settings = Settings.load()
        telemetry.configure(settings, "backup")
        failpoints.arm(settings.failpoint)
        follows = arguments == ["follow"]
        interval_s = process.FOLLOW_S if follows else settings.backup_interval_s
        process.main(settings, interval_s)
    except DarkroomError as error:
        print(f"darkroom: {error.detail}", file=sys.stderr)
        return 2 if isinstance(error, SettingsError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
