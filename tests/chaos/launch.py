"""`python -m tests.chaos.launch`: the stack as `darkroom up` starts it, with three
openings for the harness.

Notifications of the store go to the harness's relay, and a process can be given a
failpoint for its next life. Workers log where no disk is filled: their lines are
evidence.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from infra.local import stack
from infra.local.program import Program
from infra.local.seaweedfs import seaweedfs
from shared.runtime import telemetry
from shared.runtime.settings import Settings
from tests.chaos.runs import WORKER_LOGS

ARMED = "failpoints.json"


def armed(folder: Path, name: str) -> dict[str, str]:
    """The failpoint that the harness has laid out for the next life of `name`; taken
    once.
    """
    file = folder / ARMED
    specs = json.loads(file.read_text()) if file.exists() else {}
    spec = specs.pop(name, None)
    if spec:
        file.write_text(json.dumps(specs))
    return {"DARKROOM_FAILPOINT": spec} if spec else {}


def main(relay_port: int, workers: int) -> None:
    settings = Settings.given()
    start, folder = Program.start, settings.state_dir.resolve()

    def start_armed(
        self: Program, environment: dict[str, str], log: Path
    ) -> subprocess.Popen[bytes]:
        if self.name.startswith("worker"):
            log = folder.parent / WORKER_LOGS / log.name
        return start(self, environment | armed(folder, self.name), log)

    Program.start = start_armed  # type: ignore[method-assign]
    stack.SERVERS["s3_endpoint_url"] = lambda state, given: seaweedfs(
        state, given.model_copy(update={"api_port": relay_port})
    )
    telemetry.configure(settings, "supervisor")
    running = stack.Stack(settings, workers)
    running.heed_signals()
    try:
        if running.start():
            running.watch()
    finally:
        running.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
