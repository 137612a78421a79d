"""What the processes of a stack say of themselves at `/metrics`, summed up for
`darkroom status`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from shared.broker.topology import dead_queue

UUID_CHARACTERS = len("GPU-01234567")
HOUR_S = 3600.0
OLD_MESSAGE_S = 600.0
"""A message that waits for longer is worth a word."""
OLD_PASS_S = 24 * HOUR_S
OLD_BACKUP_S = 2 * HOUR_S
LAST_SWEEP = "darkroom_sweep_last_success_timestamp_seconds"
LAST_BACKUP = "darkroom_backup_last_success_timestamp_seconds"
STARTED = "process_start_time_seconds"


def read(address: str) -> list[Sample]:
    """Every sample of the process whose metrics are at `address`; none while it does
    not answer.
    """
    try:
        answer = httpx.get(f"{address}/metrics", timeout=5, trust_env=False)
        families = text_string_to_metric_families(answer.text)
        return [sample for family in families for sample in family.samples]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return []


def device_of(samples: Iterable[Sample]) -> str:
    """What a worker computes on, a GPU with the beginning of its UUID; empty while it
    does not say.
    """
    for sample in _named("darkroom_worker_info", samples):
        uuid = sample.labels["uuid"][:UUID_CHARACTERS]
        return f"{sample.labels['device']} {uuid}".strip()
    return ""


def summary(processes: Sequence[Sequence[Sample]], now_s: float) -> dict[str, Any]:
    """Counts since the processes began, rates by the hour, and how old the oldest
    message, the last pass of the sweep and the last backup are in seconds (None where
    nobody says).
    """
    photos = _counted("darkroom_photos_total", processes, now_s)
    uploads = _counted("darkroom_uploads_total", processes, now_s)
    samples = [sample for process in processes for sample in process]
    messages = _messages(samples)
    dead = sum(count for queue, count in messages.items() if _is_dead(queue))
    ages = {
        sample.labels["queue"]: sample.value
        for sample in _named("darkroom_queue_oldest_message_age_seconds", samples)
        if not _is_dead(sample.labels["queue"])
    }
    return {
        "photos": photos.get("success", (0, 0.0))[0],
        "photos_per_hour": photos.get("success", (0, 0.0))[1],
        "failed": photos.get("failed", (0, 0.0))[0],
        "uploads": sum(count for count, _ in uploads.values()),
        "uploads_per_hour": round(sum(rate for _, rate in uploads.values()), 1),
        "waiting": sum(messages.values()) - dead,
        "dead_letters": dead,
        "oldest_message_s": max(ages.values(), default=None),
        "oldest_message_queue": max(ages, key=lambda queue: ages[queue], default=None),
        "last_sweep_s": _since(LAST_SWEEP, samples, now_s),
        "last_backup_s": _since(LAST_BACKUP, samples, now_s),
    }


def warnings(found: dict[str, Any]) -> list[str]:
    """What of a `summary` an operator should look at, as sentences; worst first."""
    said = []
    if found["dead_letters"]:
        said.append(
            f"dead letters: {found['dead_letters']}; `darkroom dead list` says why"
        )
    age_s = found["oldest_message_s"]
    if age_s is not None and age_s > OLD_MESSAGE_S:
        queue = found["oldest_message_queue"]
        said.append(f"a message waits in {queue} for {lasting(age_s)}")
    if found["failed"]:
        said.append(
            f"photos that failed since the workers began: {found['failed']}; `darkroom tasks` says why"
        )
    for what, limit_s in (("sweep", OLD_PASS_S), ("backup", OLD_BACKUP_S)):
        since_s = found[f"last_{what}_s"]
        if since_s is not None and since_s > limit_s:
            said.append(f"the last {what} ended {lasting(since_s)} ago")
    return said


def lasting(seconds: float) -> str:
    """A length of time for people."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 2 * HOUR_S:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / HOUR_S:.0f} h"


def _named(name: str, samples: Iterable[Sample]) -> Iterator[Sample]:
    return (sample for sample in samples if sample.name == name)


def _counted(
    name: str, processes: Sequence[Sequence[Sample]], now_s: float
) -> dict[str, tuple[int, float]]:
    """Value of the counter's first label → count, and rate by the hour."""
    counted: dict[str, tuple[int, float]] = {}
    for samples in processes:
        started_s = next((sample.value for sample in _named(STARTED, samples)), now_s)
        hours = max(1.0, now_s - started_s) / HOUR_S
        for sample in _named(name, samples):
            kind = sample.labels.get("outcome") or sample.labels.get("decision", "")
            count, rate = counted.get(kind, (0, 0.0))
            rate = round(rate + sample.value / hours, 1)
            counted[kind] = (count + int(sample.value), rate)
    return counted


def _is_dead(queue: str) -> bool:
    return queue.endswith(dead_queue(""))


def _messages(samples: Iterable[Sample]) -> dict[str, int]:
    """Ready messages by queue."""
    return {
        sample.labels["queue"]: int(sample.value)
        for sample in _named("darkroom_queue_messages", samples)
        if sample.labels["queue"] != "unacked"
    }


def _since(name: str, samples: Iterable[Sample], now_s: float) -> float | None:
    """Seconds since a moment that a gauge tells; 0 on it means never."""
    moments = [sample.value for sample in _named(name, samples) if sample.value]
    return round(now_s - max(moments), 1) if moments else None
