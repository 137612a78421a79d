"""Metrics of the handlers; their names and meanings are listed in
`shared.runtime.telemetry.METRICS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from handlers.audit_log.database import Written
from handlers.reconcile.report import Look, SweepReport
from shared.broker.depth import depth
from shared.errors import BrokerUnavailable
from shared.runtime.settings import Settings
from shared.runtime.telemetry import METRICS

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
UPLOADS = Counter(
    "darkroom_uploads_total",
    METRICS["darkroom_uploads_total"],
    ["decision"],
    registry=REGISTRY,
)
UPLOAD_SECONDS = Histogram(
    "darkroom_upload_seconds",
    METRICS["darkroom_upload_seconds"],
    registry=REGISTRY,
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
)
NOTIFICATIONS = Counter(
    "darkroom_notifications_total",
    METRICS["darkroom_notifications_total"],
    ["door", "outcome"],
    registry=REGISTRY,
)


class RecorderFigures:
    """Of the recorder process alone: a process does not show what it never does."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._events = _counter("darkroom_log_events_total", "outcome", registry)
        self._seconds = Histogram(
            "darkroom_log_batch_seconds",
            METRICS["darkroom_log_batch_seconds"],
            registry=registry,
            buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300),
        )

    def written(self, written: Written, unreadable: int, seconds: float) -> None:
        """One batch was settled, `seconds` after it was in hand."""
        for outcome, number in (asdict(written) | {"unreadable": unreadable}).items():
            self._events.labels(outcome=outcome).inc(number)
        self._seconds.observe(seconds)


class SweepFigures:
    """Of the sweep process alone."""

    KINDS = (
        "missed",
        "republished",
        "called",
        "retold",
        "recalled",
        "damaged",
        "repaired",
        "failed",
    )

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._found = _counter("darkroom_sweep_found_total", "kind", registry)
        for kind in self.KINDS:
            self._found.labels(kind=kind)
        name = "darkroom_sweep_look_seconds"
        self._look_seconds = Gauge(name, METRICS[name], registry=registry)
        self._seconds = Gauge(
            "darkroom_sweep_seconds",
            METRICS["darkroom_sweep_seconds"],
            registry=registry,
        )
        name = "darkroom_sweep_last_pass_time_seconds"
        self._ended = Gauge(name, METRICS[name], registry=registry)

    def looked(self, look: Look) -> None:
        """One look at new uploads ended."""
        self._found.labels(kind="missed").inc(look.missed)
        self._found.labels(kind="failed").inc(look.failed)
        self._look_seconds.set(look.seconds)

    def passed(self, report: SweepReport, now_s: float) -> None:
        """One whole pass ended at Unix time `now_s`."""
        for kind in self.KINDS:
            self._found.labels(kind=kind).inc(getattr(report, kind))
        self._seconds.set(report.seconds)
        self._ended.set(now_s)


class QueueDepths(Collector):
    """Asks the broker whenever somebody asks for figures; while it is away, there are
    none.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield self._family({})

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            yield self._family(depth(self._settings))
        except BrokerUnavailable:
            yield self._family({})

    def _family(self, depths: Mapping[str, int]) -> GaugeMetricFamily:
        name = "darkroom_queue_messages"
        family = GaugeMetricFamily(name, METRICS[name], labels=["queue"])
        for queue, messages in depths.items():
            family.add_metric([queue], messages)
        return family


def _counter(name: str, label: str, registry: CollectorRegistry) -> Counter:
    return Counter(name, METRICS[name], [label], registry=registry)
