"""Metrics of the upload trigger, and the registry that all processes use.

Names and meanings are listed in `shared.runtime.telemetry.METRICS`. Metrics of a single
process stand beside that process.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

from shared.runtime.telemetry import METRICS

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)


def counter(name: str, *labels: str, registry: CollectorRegistry = REGISTRY) -> Counter:
    """Return a new counter with the description of its name in `METRICS`."""
    return Counter(name, METRICS[name], labels, registry=registry)


UPLOADS = counter("darkroom_uploads_total", "decision")
UPLOAD_SECONDS = Histogram(
    "darkroom_upload_seconds",
    METRICS["darkroom_upload_seconds"],
    registry=REGISTRY,
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
)
NOTIFICATIONS = counter("darkroom_notifications_total", "door", "outcome")
