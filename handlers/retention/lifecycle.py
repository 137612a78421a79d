"""Lifecycle rules for stores that have them: what a store may delete by itself.

It knows no receipts and no holds, so only such rules are made of which neither matters.
"""

from __future__ import annotations

import math
from typing import Any

from handlers.retention.rules import Rules, What
from shared.runtime.settings import Settings

EARLIER_DAYS = 30
"""How long an overwritten or deleted version is kept, where uploads have no rule."""


def lifecycle(rules: Rules, settings: Settings) -> dict[str, dict[str, Any]]:
    """Return, by bucket, what `put-bucket-lifecycle-configuration` takes."""
    parts_days = math.ceil(settings.multipart_max_age_s / 86_400)
    uploads = [_earlier_versions(rules)]
    if parts_days:
        uploads.append(
            {
                "ID": "darkroom-parts",
                "Status": "Enabled",
                "Filter": {"Prefix": ""},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": parts_days},
            }
        )
    made: dict[str, list[dict[str, Any]]] = {settings.bucket_uploads: uploads}
    if not rules.hold:
        places: list[tuple[What, str, str]] = [
            ("previews", settings.bucket_results, "previews/"),
            ("tickets", settings.bucket_results, "refused/"),
            ("tickets", settings.bucket_access, "tickets/"),
        ]
        for what, bucket, prefix in places:
            days = _days_of_all(rules, what)
            if days:
                made.setdefault(bucket, []).append(_expiry(prefix, days))
    return {bucket: {"Rules": found} for bucket, found in made.items()}


def _days_of_all(rules: Rules, what: What) -> int | None:
    """The days of a rule that is about every object of a kind."""
    days = [
        rule.after_days for rule in rules.of(what) if not rule.prefix and not rule.user
    ]
    return math.ceil(min(days)) if days else None


def _earlier_versions(rules: Rules) -> dict[str, Any]:
    days = _days_of_all(rules, "uploads") or EARLIER_DAYS
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
