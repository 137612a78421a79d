"""Metrics of the sweep process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from handlers.reconcile.report import Look, SweepReport
from handlers.retention.report import RetentionReport
from shared.broker.depth import IN_HAND, sizes
from shared.broker.oldest import OldestMessages
from shared.broker.transports import connected
from shared.errors import BrokerUnavailable
from shared.runtime.metrics import REGISTRY, counter, gauge, gauge_family
from shared.runtime.settings import BrokerSettings

QUEUE_MESSAGES = "darkroom_queue_messages"
OLDEST_AGE = "darkroom_queue_oldest_message_age_seconds"

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

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._found = counter("darkroom_sweep_found_total", "kind", registry=registry)
        for kind in KINDS:
            self._found.labels(kind=kind)
        self._forgotten = counter(
            "darkroom_retention_deleted_total", "what", registry=registry
        )
        self._look_seconds = gauge("darkroom_sweep_look_seconds", registry=registry)
        self._pass_seconds = gauge("darkroom_sweep_seconds", registry=registry)
        self._pass_ended = [
            gauge(name, registry=registry)
            for name in (
                "darkroom_sweep_last_success_timestamp_seconds",
                "darkroom_sweep_last_pass_time_seconds",
            )
        ]

    def looked(self, look: Look) -> None:
        """Count one look at new uploads."""
        self._found.labels(kind="missed").inc(look.notifications_missed)
        self._found.labels(kind="failed").inc(look.failed)
        self._look_seconds.set(look.seconds)

    def forgot(self, report: RetentionReport) -> None:
        """Count one run of the rules of retention."""
        for what, count in report.deleted.items():
            self._forgotten.labels(what=what).inc(count)

    def passed(self, report: SweepReport, now_s: float) -> None:
        """Count one whole pass, which ended at Unix time `now_s`."""
        counts = report.printed()
        for kind in KINDS:
            self._found.labels(kind=kind).inc(counts[kind])
        self._pass_seconds.set(report.seconds)
        for ended in self._pass_ended:
            ended.set(now_s)


class QueueDepths(Collector):
    """The length of every queue and the age of its oldest message, as the broker gives
    them whenever metrics are read; no figures while the broker is away.
    """

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings
        self._oldest = OldestMessages()

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield gauge_family(QUEUE_MESSAGES, "queue", {})
        yield gauge_family(OLDEST_AGE, "queue", {})

    def collect(self) -> Iterator[GaugeMetricFamily]:
        messages: dict[str, int] = {}
        ages_s: dict[str, float] = {}
        with (
            suppress(BrokerUnavailable),
            connected(self._settings) as (transport, channel),
        ):
            messages = sizes(transport, channel)
            queues = {
                queue: ready for queue, ready in messages.items() if queue != IN_HAND
            }
            ages_s = self._oldest.ages_s(transport, channel, queues, datetime.now(UTC))
        yield gauge_family(QUEUE_MESSAGES, "queue", messages)
        yield gauge_family(OLDEST_AGE, "queue", ages_s)
