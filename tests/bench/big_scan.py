"""`python -m tests.bench.big_scan`: a large scan through `fast` on servers of its own, by
a worker that has several photos in hand, as one with a card has. Small photos of somebody
who waits are put meanwhile. By hand: 10 GB of disk, and minutes.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from infra import uploads
from infra.bench.command import python_command
from infra.bench.lanes import running, wait_until
from infra.bench.own_servers import own_servers
from infra.bench.pipeline import noise, wait
from shared.runtime.settings import Settings, variable
from shared.s3.store import S3Store
from shared.uploads.documents import Record

LANES = {variable("prepare_lanes"): "3", variable("store_lanes"): "3"}
SMALL_PX = 96
PAUSE_S = 20.0
FIRST_S = 10.0
LONGEST_S = 3600.0
POLL_S = 0.05
START_S = 60.0


def main() -> None:
    """Print what the scan took, and how long each small photo was waited for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, default=12_000)
    parser.add_argument("--height", type=int, default=9_000)
    options = parser.parse_args()
    data = scan(options.width, options.height)
    print(f"load={os.getloadavg()[0]:.1f} cores={os.cpu_count()} bytes={len(data)}")
    with own_servers() as environment, tempfile.TemporaryDirectory() as folder:
        ready = {name: Path(folder) / name for name in ("handlers", "gpu_worker")}
        handlers = {**environment, variable("ready_file"): str(ready["handlers"])}
        worker = {
            **environment,
            **LANES,
            variable("ready_file"): str(ready["gpu_worker"]),
        }
        with (
            running(python_command("handlers", "http"), handlers),
            running(python_command("gpu_worker"), worker),
        ):
            for name in ("handlers", "gpu_worker"):
                wait_until(ready[name].exists, START_S, f"{name} did not start")
            _measure(environment, data)


def scan(width: int, height: int) -> bytes:
    """A JPEG of soft colours with grain, as a scan of a print has."""
    random = np.random.default_rng(7)
    soft = random.integers(40, 216, (height // 500, width // 500, 3), dtype=np.uint8)
    image = Image.fromarray(soft).resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(image).astype(np.int16)
    pixels += random.integers(-3, 4, (height, width, 1), dtype=np.int16)
    out = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=85)
    return out.getvalue()


def _measure(environment: Mapping[str, str], data: bytes) -> None:
    settings = Settings.load(state_dir=Path(environment[variable("state_dir")]))
    store = S3Store(settings)
    _put(store, settings, noise(SMALL_PX), "warm")
    is_over = threading.Event()
    waits_s: list[float] = []
    someone = threading.Thread(
        target=_put_now_and_then, args=(store, settings, is_over, waits_s)
    )
    began_s = time.monotonic()
    someone.start()
    try:
        record = _put(store, settings, data, "scan", "bulk")
    finally:
        is_over.set()
    seconds = time.monotonic() - began_s
    someone.join()
    print(
        f"scan_s={seconds:.0f} result_px={record.width}x{record.height} "
        f"result_bytes={record.result_bytes} peak_bytes={record.peak_memory_bytes} "
        f"tile={record.tile} attempts={record.attempts} engine={record.engine}"
    )
    print("small_s=" + ",".join(f"{each:.1f}" for each in waits_s))
    print("notes=" + "; ".join(record.notes))


def _put_now_and_then(
    store: S3Store, settings: Settings, is_over: threading.Event, waits_s: list[float]
) -> None:
    """Put a small photo and wait for its result, until the scan is over."""
    pause_s = FIRST_S
    while not is_over.wait(pause_s):
        began_s = time.monotonic()
        _put(store, settings, noise(SMALL_PX), f"small-{len(waits_s)}")
        waits_s.append(time.monotonic() - began_s)
        pause_s = PAUSE_S


def _put(
    store: S3Store,
    settings: Settings,
    data: bytes,
    name: str,
    priority: str = "interactive",
) -> Record:
    key = f"incoming/fast/bench/{name}"
    metadata = {"priority": priority}
    info = store.put(settings.bucket_uploads, key, data, "image/jpeg", metadata)
    return wait(store, settings, uploads.of_object(info), POLL_S, LONGEST_S)


if __name__ == "__main__":
    main()
