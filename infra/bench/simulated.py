"""The simulation beside a real run: real handlers and workers, whose device sleeps, at
three loads. Each is predicted before it is measured.

Scaling is not a part of it: as many workers as are asked for run all the time.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.bench.command import bench_command, python_command
from infra.bench.lanes import (
    SETTLE_S,
    START_S,
    WORKFLOW,
    Window,
    read_windows,
    running,
    wait_until,
)
from infra.bench.pipeline import noise
from infra.simulate.fleet import Fleet, Photo, simulate
from infra.simulate.report import quantile
from shared.runtime.settings import Settings, variable
from shared.s3.store import S3Store

LOADS = (0.6, 0.9, 2.0)
"""Photos that arrive for each that the workers can do."""
SIDE_PX = 96
ALONE = 6
BURST = 16
"""Photos by which the overhead, and the time of a photo, are taken beforehand."""


@dataclass(frozen=True)
class Comparison:
    """Seconds that photos waited for the device at one load. `off`: how far the
    predicted mean is from the measured one, as a share of that.
    """

    load: float
    photos: int
    workers: int
    predicted_mean_s: float
    measured_mean_s: float
    predicted_p95_s: float
    measured_p95_s: float
    off: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


class _Rig:
    """Servers, handlers and workers that run."""

    def __init__(self, settings: Settings, windows: list[list[Window]]) -> None:
        self._settings = settings
        self._store = S3Store(settings)
        self._windows = windows
        self._sent = 0

    def run(self, at_s: list[float]) -> list[float]:
        """Send photos at these times, wait until all are done, and return the seconds
        from the end of each upload until the device began, in the order of uploads.
        """
        seen = self._begun()
        begin_s = time.monotonic()
        sent: list[float] = []
        for one_s in at_s:
            time.sleep(max(0.0, begin_s + one_s - time.monotonic()))
            sent.append(self._send())
        wait_until(
            lambda: len(self._begun()) >= len(seen) + len(at_s),
            SETTLE_S,
            "the photos were not restored",
        )
        # Photos are taken in the order in which they came, or nearly so.
        begun = self._begun()[len(seen) :]
        return [begun_s - sent_s for begun_s, sent_s in zip(begun, sent, strict=True)]

    def _send(self) -> float:
        self._sent += 1
        key = f"incoming/{WORKFLOW}/bench/{self._sent:05d}.png"
        bucket = self._settings.bucket_uploads
        self._store.put(bucket, key, noise(SIDE_PX), "image/png")
        return time.monotonic()

    def _begun(self) -> list[float]:
        return sorted(began_s for own in self._windows for began_s, _ in own)


def measure(
    environment: Mapping[str, str], device_ms: float, photos: int, workers: int
) -> Iterator[tuple[float, Comparison | None]]:
    """Three loads, in turn: the predicted mean as soon as it is known, with None; then
    the comparison.
    """
    with _rig(environment, device_ms, workers) as rig:
        fleet = _calibrated(rig, workers)
        for load in LOADS:
            drawn = random.Random(load)  # noqa: S311 - a plan of arrivals
            mean_s = fleet.service_s / workers / load
            at_s: list[float] = []
            for _ in range(photos):
                before_s = at_s[-1] if at_s else 0.0
                at_s.append(before_s + drawn.expovariate(1 / mean_s))
            predicted = simulate(map(Photo, at_s), fleet).waits_s
            yield statistics.mean(predicted), None
            measured = rig.run(at_s)
            yield (
                statistics.mean(predicted),
                _compared(load, workers, predicted, measured),
            )


def _calibrated(rig: _Rig, workers: int) -> Fleet:
    """What one photo takes, alone and in a row."""
    apart_s = 3.0
    alone = rig.run([number * apart_s for number in range(ALONE)])
    rig_s = rig.run([0.0] * BURST)
    # The last one waited for all before it.
    service_s = (rig_s[-1] - rig_s[workers]) * workers / (BURST - 1 - workers)
    return Fleet(
        service_s=service_s,
        overhead_s=statistics.median(alone[1:]),
        minimum=workers,
        maximum=workers,
        start_s=0.0,
    )


def _compared(
    load: float, workers: int, predicted: list[float], measured: list[float]
) -> Comparison:
    mean_s = statistics.mean(measured)
    return Comparison(
        load=load,
        photos=len(measured),
        workers=workers,
        predicted_mean_s=round(statistics.mean(predicted), 2),
        measured_mean_s=round(mean_s, 2),
        predicted_p95_s=round(quantile(predicted, 0.95), 2),
        measured_p95_s=round(quantile(measured, 0.95), 2),
        off=round(statistics.mean(predicted) / mean_s - 1, 3),
    )


@contextmanager
def _rig(
    environment: Mapping[str, str], device_ms: float, workers: int
) -> Iterator[_Rig]:
    settings = Settings.load(state_dir=Path(environment[variable("state_dir")]))
    windows: list[list[Window]] = [[] for _ in range(workers)]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        names = ["handlers", *(f"worker-{number}" for number in range(workers))]
        commands = [
            python_command("handlers", "http"),
            *[bench_command("stand_in", {"device_ms": device_ms})] * workers,
        ]
        files = [Path(folder) / name for name in names]
        for command, file, number in zip(
            commands, files, range(-1, workers), strict=True
        ):
            own = {**environment, variable("ready_file"): str(file)}
            worker = stack.enter_context(running(command, own))
            if number >= 0:
                arguments = (worker, windows[number])
                threading.Thread(
                    target=read_windows, args=arguments, daemon=True
                ).start()
        for file in files:
            wait_until(file.exists, START_S, f"{file.name} did not start")
        yield _Rig(settings, windows)
