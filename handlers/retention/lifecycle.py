"""Lifecycle rules for stores that have them: what a store may delete by itself.

It knows no receipts and no holds, so only such rules are made of which neither matters.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

from handlers.retention.rules import Rules, What
from shared.runtime.settings import Settings
from shared.uploads import keys


def lifecycle(rules: Rules, settings: Settings) -> dict[str, dict[str, Any]]:
    """Return, by bucket, what `put-bucket-lifecycle-configuration` takes."""
    made: dict[str, list[dict[str, Any]]] = defaultdict(list)
    parts_days = math.ceil(settings.multipart_max_age_s / 86_400)
    if parts_days:
        made[settings.bucket_uploads].append(_parts(parts_days))
    if not rules.hold:
        earlier_days = _days_of_all(rules, "uploads")
        if earlier_days:
            made[settings.bucket_uploads].append(_earlier_versions(earlier_days))
        places: list[tuple[What, str, str]] = [
            ("previews", settings.bucket_results, "previews/"),
            ("tiles", settings.bucket_results, keys.PYRAMIDS),
            ("tickets", settings.bucket_results, "refused/"),
            ("tickets", settings.bucket_access, "tickets/"),
        ]
        for what, bucket, prefix in places:
            days = _days_of_all(rules, what)
            if days:
                made[bucket].append(_expiry(prefix, days))
    return {bucket: {"Rules": found} for bucket, found in made.items()}


def _days_of_all(rules: Rules, what: What) -> int | None:
    """The days of a rule that is about every object of a kind."""
    days = [
        rule.after_days for rule in rules.of(what) if not rule.prefix and not rule.user
    ]
    return math.ceil(min(days)) if days else None


def _parts(days: int) -> dict[str, Any]:
    return {
        "ID": "darkroom-parts",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days},
    }


def _earlier_versions(days: int) -> dict[str, Any]:
    return {
        "ID": "darkroom-earlier-versions",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "NoncurrentVersionExpiration": {"NoncurrentDays": days},
        "Expiration": {"ExpiredObjectDeleteMarker": True},
    }


def _expiry(prefix: str, days: int) -> dict[str, Any]:
    return {
        "ID": f"darkroom-{prefix.rstrip('/')}",
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "Expiration": {"Days": days},
    }
