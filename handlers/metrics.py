"""Metrics of the handlers; their names and meanings are listed in `shared.telemetry.METRICS`."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

from shared.telemetry import METRICS

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
UPLOADS = Counter("darkroom_uploads_total", METRICS["darkroom_uploads_total"], ["decision"], registry=REGISTRY)
UPLOAD_SECONDS = Histogram(
    "darkroom_upload_seconds", METRICS["darkroom_upload_seconds"], registry=REGISTRY,
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
)  # fmt: skip
NOTIFICATIONS = Counter(
    "darkroom_notifications_total", METRICS["darkroom_notifications_total"], ["door", "outcome"], registry=REGISTRY
)
