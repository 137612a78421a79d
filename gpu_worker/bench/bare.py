"""`python -m gpu_worker bench bare`: the engine alone, photo in memory to photo in
memory, as fast as it goes.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from gpu_worker import codec, engines
from gpu_worker.photo import Photo
from gpu_worker.restore import restore
from shared import workflows
from shared.runtime.settings import Settings


def main(argv: list[str]) -> int:
    """Print `{"photos": …, "seconds": …}`. The first photo is restored once before, and
    not counted.
    """
    options = _options(argv)
    settings = Settings.load()
    engine = engines.select(settings)
    workflow = workflows.resolve(options.workflow)
    photos = _photos(options, settings)
    restore(photos[0], workflow, engine, settings, _ignore)
    began_s = time.perf_counter()
    for photo in photos:
        restore(photo, workflow, engine, settings, _ignore)
    seconds = time.perf_counter() - began_s
    print(json.dumps({"photos": len(photos), "seconds": seconds}))
    return 0


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m gpu_worker bench bare", description=__doc__
    )
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--workflow", required=True)
    parser.add_argument("--photos", type=int, help="only so many of them")
    return parser.parse_args(argv)


def _photos(options: argparse.Namespace, settings: Settings) -> list[Photo]:
    limits = codec.Limits.of(settings)
    paths = sorted(options.folder.iterdir())[: options.photos]
    return [codec.decode(path.read_bytes(), limits) for path in paths]


def _ignore(_progress: float) -> None:
    pass
