"""Metrics of the worker."""

from __future__ import annotations

from prometheus_client import Info

from shared.runtime.metrics import METRICS, REGISTRY, counter, gauge, histogram

SECONDS_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120, 600)

PHOTOS = counter("darkroom_photos_total", "outcome", "workflow", "error")
CREDENTIALS = counter("darkroom_credentials_total", "outcome")
FAILURES_IN_A_ROW = gauge("darkroom_consecutive_failures")
SECONDS = histogram("darkroom_photo_seconds", SECONDS_BUCKETS, "stage")
STEP_SECONDS = histogram("darkroom_step_seconds", SECONDS_BUCKETS, "step")
IN_HAND = gauge("darkroom_photos_in_hand")
ABOUT = Info("darkroom_worker", METRICS["darkroom_worker_info"], registry=REGISTRY)
DEVICE_PEAK = histogram(
    "darkroom_photo_device_peak_bytes",
    [(1 << 30) * 2**power for power in range(-2, 8)],
)
