"""`bench metrics`: what it costs a photo that everything is counted, timed and scraped,
beside the work on the photo itself in the same run.
"""

from __future__ import annotations

import io
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from prometheus_client import generate_latest
from structlog.contextvars import bound_contextvars

from gpu_worker import codec, engines
from gpu_worker.pipeline import metrics as of_worker
from gpu_worker.restore import restore
from handlers import metrics as of_handlers
from handlers.audit_log.values import Written
from handlers.on_record import Recorded
from handlers.processes.recorder import RecorderFigures
from infra.demo.samples import samples
from shared import workflows
from shared.broker.publisher import stamped
from shared.runtime import tracing
from shared.runtime.metrics import REGISTRY
from shared.runtime.settings import Settings

SCRAPE_S = 15.0
"""As in infra/prometheus/prometheus.yml."""
PROCESSES = 6
"""Of a stack; each is scraped, and exposes less than this one does."""
MESSAGES = 5
"""Of one photo: its notification, its task, and three events."""
REPEATED = 200
RECORDED = Recorded(Written(added=3), {})
"""A batch of the audit log with one photo's events."""
STAGES = ("prepare", "restore", "finish")


@dataclass(frozen=True)
class Figures:
    """Medians of the rounds and their ends; `cost`: part of a photo's time."""

    photo_ms: float
    photo_ms_low: float
    photo_ms_high: float
    counting_ms: float
    counting_ms_low: float
    counting_ms_high: float
    scrape_ms: float
    cost: float


def cost_of(photo_s: float, counting_s: float, scrape_s: float) -> float:
    """The part of a photo's time that counting takes, with the scrapes of all processes
    that fall into it.
    """
    scrapes = PROCESSES * scrape_s * photo_s / SCRAPE_S
    return (counting_s + scrapes) / photo_s


def run(settings: Settings, rounds: int, workflow: str, as_json: bool) -> int:
    """Print the figures; the exit status is 0."""
    figures = measure(settings, rounds, workflow)
    if as_json:
        print(json.dumps(asdict(figures)))
        return 0
    print(f"one photo through {workflow}, {rounds} rounds")
    low, high = figures.photo_ms_low, figures.photo_ms_high
    print(f"work       {figures.photo_ms:9.3f} ms  ({low:.3f} to {high:.3f})")
    low, high = figures.counting_ms_low, figures.counting_ms_high
    print(f"counting   {figures.counting_ms:9.3f} ms  ({low:.3f} to {high:.3f})")
    print(f"a scrape   {figures.scrape_ms:9.3f} ms, each {SCRAPE_S:g} s")
    print(f"cost       {figures.cost:9.3%} of the work")
    return 0


def measure(settings: Settings, rounds: int, workflow: str) -> Figures:
    """Measure work and counting in turn, `rounds` times after a warm-up."""
    resolved = workflows.resolve(workflow)
    engine = engines.select(settings)
    data = samples()[2].data

    def work() -> None:
        photo = codec.decode(data, codec.Limits.of(settings))
        restored = restore(photo, resolved, engine, settings, lambda _: None)
        text = codec.texts("bench", resolved)
        codec.write_png(restored.photo, io.BytesIO(), text, settings.png_level)

    count = counting()
    work()
    count()
    works, counts, scrapes = [], [], []
    for _ in range(rounds):
        works.append(_seconds(work))
        counts.append(_seconds(lambda: [count() for _ in range(REPEATED)]) / REPEATED)
        scrapes.append(_seconds(lambda: generate_latest(REGISTRY)))
    photo_s, counting_s, scrape_s = map(statistics.median, (works, counts, scrapes))
    return Figures(
        1000 * photo_s,
        1000 * min(works),
        1000 * max(works),
        1000 * counting_s,
        1000 * min(counts),
        1000 * max(counts),
        1000 * scrape_s,
        cost_of(photo_s, counting_s, scrape_s),
    )


def counting() -> Callable[[], None]:
    """What all processes together do for one photo beside their work."""
    log_events = RecorderFigures()

    def count() -> None:
        of_handlers.NOTIFICATIONS.labels(door="http", outcome="read").inc()
        of_handlers.UPLOADS.labels(decision="queued").inc()
        of_handlers.UPLOAD_SECONDS.observe(0.02)
        _count_request()
        for _ in range(MESSAGES):
            stamped(tracing.headers(None))
        for stage in STAGES:
            with bound_contextvars(task_id="t", upload_id="u"), tracing.span(stage):
                of_worker.SECONDS.labels(stage=stage).observe(0.1)
        of_worker.PHOTOS.labels(outcome="success", workflow="fast", error="").inc()
        of_worker.FAILURES_IN_A_ROW.set(0)
        for step in ("upscale", "finish"):
            of_worker.STEP_SECONDS.labels(step=step).observe(0.1)
        log_events.hold(())
        log_events.add(RECORDED, 0.01)

    return count


def _count_request() -> None:
    of_handlers.REQUESTS.labels(method="POST", route="/bench", status="200").inc()
    of_handlers.REQUEST_SECONDS.labels(method="POST", route="/bench").observe(0.02)


def _seconds(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s
