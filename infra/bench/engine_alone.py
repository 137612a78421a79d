"""`python -m infra.bench engine_alone`: the engine alone, photo in memory to photo in
memory, as fast as it goes.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from gpu_worker import codec, device, engines
from gpu_worker.restore import restore
from shared import workflows
from shared.runtime.settings import Settings


def run(settings: Settings, folder: str, workflow: str, photos: int) -> int:
    """Print `{"photos": …, "seconds": …}` of the first `photos` files of `folder`. The
    first of them is restored once before, and not counted.
    """
    device.show(settings)
    engine = engines.select(settings)
    resolved = workflows.resolve(workflow)
    limits = codec.Limits.of(settings)
    paths = sorted(Path(folder).iterdir())[:photos]
    decoded = [codec.decode(path.read_bytes(), limits) for path in paths]
    restore(decoded[0], resolved, engine, settings, _ignore)
    began_s = time.perf_counter()
    for photo in decoded:
        restore(photo, resolved, engine, settings, _ignore)
    seconds = time.perf_counter() - began_s
    print(json.dumps({"photos": len(decoded), "seconds": seconds}))
    return 0


def _ignore(_progress: float) -> None:
    pass
