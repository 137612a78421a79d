"""Times from the object store are read quickly, and to the same moment as the SDK reads
them.
"""

from __future__ import annotations

from typing import Any

import pytest
from botocore.utils import parse_timestamp

from shared.s3.client import timestamp


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-23T04:24:01Z",
        "2026-11-23T04:24:01.123Z",
        "2026-11-23T04:24:01.123456789Z",
        "2026-11-23T06:24:01+02:00",
        "Mon, 23 Nov 2026 04:24:01 GMT",
        "Monday, 23-Nov-26 04:24:01 GMT",
        1795407841,
        1795407841.5,
        "1795407841",
    ],
)
def test_every_form_of_a_time_is_read(value: Any) -> None:
    """ISO 8601 in listings, HTTP dates in headers, seconds since 1970 elsewhere."""
    found = timestamp(value)
    assert found.tzinfo is not None
    assert abs((found - parse_timestamp(value)).total_seconds()) < 1e-5


def test_what_is_no_time_is_an_error() -> None:
    with pytest.raises(ValueError, match="timestamp"):
        timestamp("yesterday")
