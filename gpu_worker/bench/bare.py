"""`python -m gpu_worker bench bare`: the engine alone, photo in memory to photo in
memory, as fast as it goes.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from gpu_worker import codec, engines
from gpu_worker.restore import restore
from shared import workflows
from shared.runtime.settings import Settings


def main(argv: list[str]) -> int:
    """Prints `{"photos": …, "seconds": …}`; the first photo is restored once before,
    and not counted.
    """
    parser = argparse.ArgumentParser(
        prog="python -m gpu_worker bench bare", description=__doc__
    )
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--workflow", required=True)
    parser.add_argument("--photos", type=int, help="only so many of them")
    given = parser.parse_args(argv)
    settings = Settings.load()
    engine, workflow = engines.select(settings), workflows.resolve(given.workflow)
    limits = codec.Limits.of(settings)
    photos = [
        codec.decode(path.read_bytes(), limits)
        for path in sorted(given.folder.iterdir())[: given.photos]
    ]
    restore(photos[0], workflow, engine, settings, lambda _: None)
    began_s = time.perf_counter()
    for photo in photos:
        restore(photo, workflow, engine, settings, lambda _: None)
    print(json.dumps({"photos": len(photos), "seconds": time.perf_counter() - began_s}))
    return 0
