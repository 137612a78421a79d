"""How busy workers would keep a device: real workers on a device that sleeps, before a
store that is far away.

A backlog is made first, by the real handlers; what is measured is the steady state in
which every worker works.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from infra.bench.command import bench_command, python_command
from infra.bench.far_store import far_away
from infra.bench.pipeline import noise
from shared.broker import depth, topology
from shared.errors import Code, SettingsError, TransientError
from shared.runtime.settings import Settings, variable
from shared.s3.store import S3Store

AT_ONCE = 8
WARM_UP = 5
"""Windows of each worker that are not counted."""
POLL_S = 0.5  # seldom: the machine is being measured
START_S = 60.0
SETTLE_S = 300.0
PROCESS_END_S = 30.0
WORKFLOW = "fast"


@dataclass(frozen=True)
class LanesFigures:
    """`device_busy`: the share of the steady state in which the devices, one a worker,
    were busy; `cores_busy`: that of this machine's cores. `load`: what the machine's
    load was before.
    """

    workers: int
    photos: int
    side_px: int
    device_ms: float
    rtt_ms: float
    photos_per_s: float
    device_busy: float
    cores_busy: float
    load: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Task:
    """What is measured: `photos` of `side_px`², one window each, by `workers` whose
    device takes `device_ms` for a window and whose store is `rtt_ms` away.
    """

    photos: int
    side_px: int
    device_ms: float
    rtt_ms: float
    workers: int


Window = tuple[float, float]
"""When a device began and ended it (monotonic)."""


@dataclass
class Watch:
    """CPU seconds of the machine, busy and in all, by time."""

    samples: list[tuple[float, float, float]] = field(default_factory=list)

    def look(self) -> None:
        times = psutil.cpu_times()
        idle_s = times.idle + getattr(times, "iowait", 0.0)
        whole_s = sum(times[:8])  # what guests take is in the others, too
        self.samples.append((time.monotonic(), whole_s - idle_s, whole_s))

    def busy(self, begin_s: float, end_s: float) -> float:
        """The share of all cores that was busy between two times."""
        inside = [
            sample for sample in self.samples if begin_s <= sample[0] <= end_s
        ] or self.samples
        _, first_busy_s, first_s = inside[0]
        _, last_busy_s, last_s = inside[-1]
        return (last_busy_s - first_busy_s) / max(last_s - first_s, 1e-9)


def measure(environment: Mapping[str, str], task: Task) -> LanesFigures:
    """`environment`: that of servers which nobody else uses. Raises `TransientError`
    where the photos are not done within a time that any machine needs less of.
    """
    settings = Settings.load(state_dir=Path(environment[variable("state_dir")]))
    load, *_ = os.getloadavg()
    _make_backlog(settings, environment, task)
    port = urlsplit(settings.s3_endpoint_url).port or 80
    watch = Watch()
    with far_away(port, task.rtt_ms / 1000) as far_port, ExitStack() as stack:
        far = {variable("s3_endpoint_url"): f"http://127.0.0.1:{far_port}"}
        command = bench_command("stand_in", {"device_ms": task.device_ms})
        windows: list[list[Window]] = [[] for _ in range(task.workers)]
        for own in windows:
            process = stack.enter_context(running(command, {**environment, **far}))
            threading.Thread(
                target=read_windows, args=(process, own), daemon=True
            ).start()
        limit_s = START_S + task.photos * (task.device_ms + 50 * task.rtt_ms + 1000)

        def is_done() -> bool:
            watch.look()
            return _waiting(settings) == 0

        wait_until(is_done, limit_s, "the photos were not restored")
    return figures_of(task, windows, watch, load)


def own_store_only() -> None:
    """Raises `SettingsError` where the environment names a store or a broker: what a
    stand-in makes of photos must not lie beside what was restored.
    """
    given = Settings.given().model_fields_set
    for name in ("s3_endpoint_url", "broker_url"):
        if name in given:
            raise SettingsError(
                f"{variable(name)} is set, and this bench makes results that are none; "
                "unset it, and the bench starts servers of its own"
            )


def _make_backlog(
    settings: Settings, environment: Mapping[str, str], task: Task
) -> None:
    store = S3Store(settings)

    def send(number: int) -> None:
        key = f"incoming/{WORKFLOW}/bench/{number:05d}.png"
        store.put(settings.bucket_uploads, key, noise(task.side_px), "image/png")

    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready"
        own = {variable("ready_file"): str(ready)}
        with running(python_command("handlers", "http"), {**environment, **own}):
            wait_until(ready.exists, START_S, "the handlers did not start")
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(send, range(task.photos)))
            wait_until(
                lambda: _waiting(settings) >= task.photos,
                SETTLE_S,
                "not every photo was queued",
            )


def _waiting(settings: Settings) -> int:
    """Tasks in the broker, in a worker's hands or not."""
    backlogs = depth.backlog(settings)
    return sum(sum(backlogs[queue]) for queue in topology.COUNTED)


@contextmanager
def running(
    command: list[str], environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """A process of Darkroom, ended at the end."""
    process = subprocess.Popen(
        command,
        env={**environment, variable("log_level"): "error"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(PROCESS_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def read_windows(process: subprocess.Popen[str], windows: list[Window]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        window = json.loads(line)
        windows.append((window["began_s"], window["ended_s"]))


def wait_until(is_so: Callable[[], bool], limit_s: float, fault: str) -> None:
    deadline_s = time.monotonic() + limit_s
    while not is_so():
        if time.monotonic() > deadline_s:
            detail = f"{fault} within {limit_s:.0f} s; take fewer, or look at the load"
            raise TransientError(Code.INTERNAL, detail)
        time.sleep(POLL_S)


def figures_of(
    task: Task, windows: list[list[Window]], watch: Watch, load: float
) -> LanesFigures:
    """The figures of the steady state, of `windows` by worker. Raises `TransientError`
    where a worker had none.
    """
    if any(len(own) <= WARM_UP + 1 for own in windows):
        detail = "a worker had too few photos to be measured; take more of them"
        raise TransientError(Code.INTERNAL, detail)
    # From when the last worker is warm until the first one has no more to do.
    begin_s = max(own[WARM_UP][0] for own in windows)
    end_s = min(own[-1][0] for own in windows)
    steady_s = end_s - begin_s
    inside = [
        (max(begin_s, began_s), min(end_s, ended_s))
        for own in windows
        for began_s, ended_s in own
        if ended_s > begin_s and began_s < end_s
    ]
    busy_s = sum(ended_s - began_s for began_s, ended_s in inside)
    begun = sum(begin_s <= window[0] < end_s for own in windows for window in own)
    return LanesFigures(
        workers=task.workers,
        photos=task.photos,
        side_px=task.side_px,
        device_ms=task.device_ms,
        rtt_ms=task.rtt_ms,
        photos_per_s=round(begun / steady_s, 2),
        device_busy=round(busy_s / (steady_s * task.workers), 3),
        cores_busy=round(watch.busy(begin_s, end_s), 3),
        load=round(load, 2),
    )
