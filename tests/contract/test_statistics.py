"""The figures of a period, from a real log database: counted here by hand."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from handlers.audit_log.database import AuditLog
from handlers.audit_log.statistics import statistics
from handlers.audit_log.values import Filter
from tests.support.audit_log_events import NOW, SOURCE, event

BIG = {"width": 4000, "height": 3000}
ON_CARD = {
    "device": "cuda:0",
    "concurrency": 3,
    "peak_device_memory_bytes": 7 << 30,
    "peak_memory_bytes": 2 << 30,
}


@pytest.fixture
def user(audit_log: AuditLog) -> str:
    """Has nine uploads: five restored in 1 to 5 s, one shared, two that did not fit on
    the card, and one that was taken back.
    """
    name = uuid4().hex * 2
    told = {**SOURCE, **BIG, **ON_CARD, "user_id": name, "scale": 2.0}
    ends = [
        *(("success", {"duration_seconds": 1.0 + place}) for place in range(5)),
        ("duplicate", {}),
        *[("failed", {"error_code": "out_of_memory", "duration_seconds": 9.0})] * 2,
        ("failed", {"error_code": "cancelled"}),
    ]
    for place, (kind, fields) in enumerate(ends):
        at = NOW + timedelta(seconds=place)
        audit_log.write(
            [event(str(uuid4()), kind, fields=told | fields, upload_time=at)]
        )
    return name


def test_the_figures_of_a_user(audit_log: AuditLog, user: str) -> None:
    where = Filter(user_id=user, since=NOW)
    found = statistics(audit_log, where, most_users=10)
    total = found.total
    assert (total.uploads, total.success, total.failed, total.withdrawn) == (9, 5, 2, 1)
    assert total.success_rate == 5 / 7
    (failure,) = found.failures
    assert failure.model_dump() == {
        "error_code": "out_of_memory",
        "megapixels": "8 to 16",
        "concurrency": 3,
        "memory_gib": "4 to 8",
        "device": "cuda:0",
        "failures": 2,
        "ended": 7,
        "rate": 2 / 7,
    }
    (seconds,) = found.seconds
    assert (seconds.photos, seconds.p50_s, seconds.mean_s) == (5, 3.0, 3.0)
    assert (found.duplicates.uploads, found.duplicates.saved_s) == (1, 3.0)
    assert [(size.scale, size.uploads) for size in found.sizes] == [(2.0, 9)]
    assert [burst.uploads for burst in found.bursts] == [9]
    (bill,) = found.users
    assert (bill.user, bill.restored, bill.megapixels) == (user, 5, 60.0)
    assert bill.seconds == 15.0 + 18.0
    assert len(found.last) == 9


def test_a_user_sees_no_list_of_users(audit_log: AuditLog, user: str) -> None:
    assert statistics(audit_log, Filter(user_id=user, since=NOW)).users == []
