"""Metrics of the worker; their names and meanings are listed in
`shared.runtime.telemetry.METRICS`.
"""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
)

from shared.runtime.telemetry import METRICS

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PHOTOS = Counter(
    "darkroom_photos_total",
    METRICS["darkroom_photos_total"],
    ["outcome"],
    registry=REGISTRY,
)
SECONDS = Histogram(
    "darkroom_photo_seconds",
    METRICS["darkroom_photo_seconds"],
    ["stage"],
    registry=REGISTRY,
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120, 600),
)
IN_HAND = Gauge(
    "darkroom_photos_in_hand", METRICS["darkroom_photos_in_hand"], registry=REGISTRY
)
ABOUT = Info("darkroom_worker", METRICS["darkroom_worker_info"], registry=REGISTRY)
DEVICE_PEAK = Histogram(
    "darkroom_photo_device_peak_bytes",
    METRICS["darkroom_photo_device_peak_bytes"],
    registry=REGISTRY,
    buckets=[(1 << 30) * 2**power for power in range(-2, 8)],
)
