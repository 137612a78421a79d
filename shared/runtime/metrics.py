"""Every metric that a process of Darkroom exposes, and the registry that it stands in.

`METRICS` is the only list: the reference in the documentation is made from it, and a
metric that is not in it cannot be made. Names follow the rules of Prometheus: base
units, `_total` for counters, `_timestamp_seconds` for moments.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from shared import __version__

METRICS = {
    "darkroom_build_info": "Always 1; the release that the process runs, as `version` (gauge).",
    "darkroom_http_requests_total": "HTTP requests answered, by `method`, `route` and `status` (counter).",
    "darkroom_http_request_seconds": "Time until the response to a request began, by `method`, `route` (histogram).",
    "darkroom_uploads_total": "Storage events decided on, by `decision` (counter).",
    "darkroom_upload_seconds": "Time from an event in hand to its decision, waits for the store included (histogram).",
    "darkroom_notifications_total": "Notifications received, by `door` (http, queue, function), `outcome` (counter).",
    "darkroom_photos_total": "Attempts that a worker brought to an end, by `outcome`, `workflow`, `error` (counter).",
    "darkroom_consecutive_failures": "Photos that failed on a worker since one was restored there (gauge).",
    "darkroom_photo_seconds": "Work on one photo, by `stage` (prepare, restore, finish) (histogram).",
    "darkroom_step_seconds": "Time that one step took on a restored photo, by `step` (histogram).",
    "darkroom_credentials_total": "Content credentials of results, by `outcome` (made, failed) (counter).",
    "darkroom_photos_in_hand": "Photos that a worker has begun (gauge).",
    "darkroom_worker_info": "Always 1; what a worker computes by and on, as `engine`, `device` and its `uuid` (gauge).",
    "darkroom_model_load_seconds": "Time to read a network into memory, by `model`; counts loads, too (histogram).",
    "darkroom_photo_device_peak_bytes": "Most memory in use on the GPU while it restored a photo (histogram).",
    "darkroom_device_memory_used_bytes": "Memory of the worker's GPU in use by all processes, by `device` (gauge).",
    "darkroom_device_memory_total_bytes": "Memory of the worker's GPU, by `device` (gauge).",
    "darkroom_device_utilization_ratio": "Part of the last moment in which the GPU computed, by `device` (gauge).",
    "darkroom_disk_free_bytes": "Room left on the disk of a folder that the process writes to, by `folder` (gauge).",
    "darkroom_disk_size_bytes": "Size of that disk, by `folder` (gauge).",
    "darkroom_log_events_total": "Log events settled by the recorder, by `outcome` (counter).",
    "darkroom_log_batch_seconds": "Time from a batch in hand to its commit, waits included (histogram).",
    "darkroom_log_lag_seconds": "Age of the oldest event that the recorder holds uncommitted; 0 without one (gauge).",
    "darkroom_callbacks_total": "Attempts of webhooks, by `outcome` (delivered, disabled, given_up, failed) (counter).",
    "darkroom_sweep_found_total": "What the sweep found, by `kind` as in its report (counter).",
    "darkroom_retention_deleted_total": "Objects deleted by the rules of retention, by `what` (counter; of the sweep).",
    "darkroom_sweep_look_seconds": "What the last look at new uploads took (gauge).",
    "darkroom_sweep_seconds": "What the last whole pass took (gauge).",
    "darkroom_sweep_last_pass_time_seconds": "Older name of `darkroom_sweep_last_success_timestamp_seconds` (gauge).",
    "darkroom_sweep_last_success_timestamp_seconds": "When the last whole pass ended, as Unix time (gauge).",
    "darkroom_queue_messages": "Ready messages, by `queue`; `unacked`: those in hand (gauge; of the sweep process).",
    "darkroom_queue_oldest_message_age_seconds": "Age of the oldest ready message, by `queue` (gauge; of the sweep).",
    "darkroom_backup_last_success_timestamp_seconds": "The time whose state the last backup holds (gauge).",
    "darkroom_backup_seconds": "What the last run of the backup took (gauge).",
    "darkroom_backup_findings": "What the last run of the backup found wrong; 0: all is in it (gauge).",
    "darkroom_drill_last_success_timestamp_seconds": "When the last drill began that passed (gauge).",
    "darkroom_drill_passed": "1 unless the last drill on schedule failed (gauge).",
    "darkroom_leases": "Messages that the process has taken and not settled (gauge).",
    "darkroom_leases_lost_total": "Messages that another consumer got before they were settled here (counter).",
    "darkroom_dead_letters_total": "Messages made dead letters, by the `queue` they came from and `code` (counter).",
}
"""What `/metrics` exposes beside the usual figures of the process."""

# A second series beside each counter, which tells nothing that the process's start does
# not.
disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)


def counter(name: str, *labels: str, registry: CollectorRegistry = REGISTRY) -> Counter:
    """Return a new counter with the description of its name in `METRICS`."""
    return Counter(name, METRICS[name], labels, registry=registry)


def gauge(name: str, *labels: str, registry: CollectorRegistry = REGISTRY) -> Gauge:
    """Return a new gauge with the description of its name in `METRICS`."""
    return Gauge(name, METRICS[name], labels, registry=registry)


def histogram(
    name: str,
    buckets: Sequence[float],
    *labels: str,
    registry: CollectorRegistry = REGISTRY,
) -> Histogram:
    """Return a new histogram with the description of its name in `METRICS`."""
    return Histogram(name, METRICS[name], labels, registry=registry, buckets=buckets)


def gauge_family(
    name: str, label: str, values: Mapping[str, float]
) -> GaugeMetricFamily:
    """Return the gauge of a collector, with one value for each value of its label."""
    family = GaugeMetricFamily(name, METRICS[name], labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


BUILD = Info("darkroom_build", METRICS["darkroom_build_info"], registry=REGISTRY)
BUILD.info({"version": __version__})
LEASES = gauge("darkroom_leases")
LEASES_LOST = counter("darkroom_leases_lost_total")
DEAD_LETTERS = counter("darkroom_dead_letters_total", "queue", "code")
MODEL_LOAD_SECONDS = histogram(
    "darkroom_model_load_seconds", (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30), "model"
)


class DiskSpace(Collector):
    """Room on the disks of `folders` (name → path), measured when somebody asks. A
    folder that is not there has no figures.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = dict(folders)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        free: dict[str, float] = {}
        size: dict[str, float] = {}
        for name, path in self._folders.items():
            try:
                disk = os.statvfs(path)
            except OSError:
                continue
            free[name] = disk.f_bavail * disk.f_frsize
            size[name] = disk.f_blocks * disk.f_frsize
        yield gauge_family("darkroom_disk_free_bytes", "folder", free)
        yield gauge_family("darkroom_disk_size_bytes", "folder", size)
