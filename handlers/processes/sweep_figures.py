"""Metrics of the sweep process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from handlers import metrics
from handlers.reconcile.report import Look, SweepReport
from shared.broker.depth import depth
from shared.errors import BrokerUnavailable
from shared.runtime.settings import BrokerSettings
from shared.runtime.telemetry import METRICS

QUEUE_MESSAGES = "darkroom_queue_messages"

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
"""Values of the label `kind`: names of counts in the printed report."""


class SweepFigures:
    """What the looks and passes of the sweep found, and how long they took."""

    def __init__(self, registry: CollectorRegistry = metrics.REGISTRY) -> None:
        self._found = metrics.counter(
            "darkroom_sweep_found_total", "kind", registry=registry
        )
        for kind in KINDS:
            self._found.labels(kind=kind)
        self._look_seconds = _gauge("darkroom_sweep_look_seconds", registry)
        self._pass_seconds = _gauge("darkroom_sweep_seconds", registry)
        self._pass_ended = _gauge("darkroom_sweep_last_pass_time_seconds", registry)

    def looked(self, look: Look) -> None:
        """Count one look at new uploads."""
        self._found.labels(kind="missed").inc(look.notifications_missed)
        self._found.labels(kind="failed").inc(look.failed)
        self._look_seconds.set(look.seconds)

    def passed(self, report: SweepReport, now_s: float) -> None:
        """Count one whole pass, which ended at Unix time `now_s`."""
        counts = report.printed()
        for kind in KINDS:
            self._found.labels(kind=kind).inc(counts[kind])
        self._pass_seconds.set(report.seconds)
        self._pass_ended.set(now_s)


class QueueDepths(Collector):
    """The length of every queue, as the broker gives it whenever metrics are read; no
    figures while the broker is away.
    """

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield _family({})

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            yield _family(depth(self._settings))
        except BrokerUnavailable:
            yield _family({})


def _family(depths: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        QUEUE_MESSAGES, METRICS[QUEUE_MESSAGES], labels=["queue"]
    )
    for queue, messages in depths.items():
        family.add_metric([queue], messages)
    return family


def _gauge(name: str, registry: CollectorRegistry) -> Gauge:
    return Gauge(name, METRICS[name], registry=registry)
