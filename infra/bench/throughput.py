"""A backlog through the whole pipeline, beside the engine alone on the same photos in
the same run.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from infra import uploads
from infra.bench.command import bench_command
from infra.bench.pipeline import noise, wait
from shared.errors import Code, PermanentError
from shared.runtime.settings import StoreSettings
from shared.s3.store import S3Store

AT_ONCE = 8
SAMPLE = 5
"""One photo in so many is enough to know the engine's own speed."""
POLL_S = 1.0  # seldom: the machine is being measured
TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class ThroughputFigures:
    """Photos a second. The engine alone is measured before and after the backlog;
    ratios are against both.
    """

    photos: int
    side_px: int
    workflow: str
    pipeline_per_s: float
    engine_per_s: float
    ratio: float
    ratio_low: float
    ratio_high: float

    def as_dict(self) -> dict[str, float | str]:
        return asdict(self)


def measure(
    settings: StoreSettings, photos: int, side_px: int, workflow: str
) -> ThroughputFigures:
    """Needs a running stack that has nothing else to do."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number:05d}.png" for number in range(photos)]
        for file in files:
            file.write_bytes(noise(side_px))
        before = _engine_alone(folder, workflow, max(3, photos // SAMPLE))
        rate = _pipeline(settings, files, workflow)
        after = _engine_alone(folder, workflow, max(3, photos // SAMPLE))
    alone = sorted((before, after))
    ratios = [rate / alone[1], rate / alone[0]]
    mean = sum(alone) / 2
    return ThroughputFigures(
        photos, side_px, workflow, rate, mean, rate / mean, ratios[0], ratios[1]
    )


def _engine_alone(folder: str, workflow: str, photos: int) -> float:
    options = {"folder": folder, "workflow": workflow, "photos": photos}
    command = bench_command("engine_alone", options)
    answer = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout
    )
    return float(answer["photos"] / answer["seconds"])


def _pipeline(settings: StoreSettings, files: list[Path], workflow: str) -> float:
    """Photos a second from the moment when all have been sent: from then on the worker
    has a backlog.
    """
    store = S3Store(settings)

    def send(file: Path) -> uploads.Upload:
        key = f"incoming/{workflow}/bench/{time.time_ns()}-{file.name}"
        return uploads.of_object(
            store.put(settings.bucket_uploads, key, file.read_bytes(), "image/png")
        )

    with ThreadPoolExecutor(AT_ONCE) as pool:
        sent = list(pool.map(send, files))
    all_sent = datetime.now(UTC)
    ends = sorted(
        wait(store, settings, upload, POLL_S, TIMEOUT_S).finished_at for upload in sent
    )
    return _rate([end for end in ends if end > all_sent])


def _rate(ends: list[datetime]) -> float:
    if len(ends) < 3:
        detail = "the photos were done before all were sent; take more of them, or a slower workflow"
        raise PermanentError(Code.INTERNAL, detail)
    return (len(ends) - 1) / (ends[-1] - ends[0]).total_seconds()
