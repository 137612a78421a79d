"""Metrics of the triggers: uploads, notifications, requests and webhooks. Those of a
single process stand beside that process.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter

from shared.runtime.metrics import counter, histogram

UPLOADS = counter("darkroom_uploads_total", "decision")
UPLOAD_SECONDS = histogram(
    "darkroom_upload_seconds", (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)
)
NOTIFICATIONS = counter("darkroom_notifications_total", "door", "outcome")
REQUESTS = counter("darkroom_http_requests_total", "method", "route", "status")
REQUEST_SECONDS = histogram(
    "darkroom_http_request_seconds",
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30),
    "method",
    "route",
)
CALLBACKS = counter("darkroom_callbacks_total", "outcome")


def begin_at_zero(metric: Counter, values: Iterable[str]) -> None:
    """Expose a counter for each value of its label before anything is counted: what
    appears with its first event is no increase to Prometheus.
    """
    for value in values:
        metric.labels(value)
