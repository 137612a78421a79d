"""The age of the oldest message. Real brokers are asked in tests/contract."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from shared.broker.oldest import OldestMessages
from shared.broker.publisher import SENT_AT, stamped
from shared.broker.transport import Transport

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = 24 * 3600


class Heads:
    """A transport with one message at the head of every queue."""

    def __init__(self, headers: Mapping[str, Any] | None) -> None:
        self.headers = headers
        self.looks = 0

    def head(self, channel: Any, queue: str) -> Mapping[str, Any] | None:
        self.looks += 1
        return self.headers


def age(oldest: OldestMessages, heads: Heads, ready: int, after_s: float) -> Any:
    now = START + timedelta(seconds=after_s)
    return oldest.ages_s(cast(Transport, heads), None, {"q": ready}, now).get("q")


def test_the_age_counts_from_when_a_message_was_sent() -> None:
    """An empty queue has age 0, and the next message is looked at anew."""
    oldest, heads = OldestMessages(), Heads({SENT_AT: START.isoformat()})
    assert age(oldest, heads, 1, 5) == 5
    assert age(oldest, heads, 0, 6) == 0
    heads.headers = {SENT_AT: (START + timedelta(seconds=6)).isoformat()}
    assert age(oldest, heads, 3, 7) == 1
    assert heads.looks == 2


def test_a_message_that_waits_is_looked_at_ever_more_rarely() -> None:
    """RabbitMQ counts looks as deliveries, of which a message has five hundred: a month,
    asked each ten seconds, must stay far below.
    """
    oldest, heads = OldestMessages(), Heads({SENT_AT: START.isoformat()})
    for after_s in range(0, 30 * DAY, 10):
        assert age(oldest, heads, 1, after_s) == after_s
    assert heads.looks < 150


def test_a_message_taken_meanwhile_is_noticed_soon() -> None:
    """The age of its successor is known after a tenth of its own age."""
    oldest, heads = OldestMessages(), Heads({SENT_AT: START.isoformat()})
    assert age(oldest, heads, 2, 1000) == 1000
    heads.headers = {SENT_AT: (START + timedelta(seconds=999)).isoformat()}
    assert age(oldest, heads, 1, 1101) == 102


def test_a_message_of_another_program_has_no_age() -> None:
    """It may say nothing, or something else."""
    for headers in (None, {}, {SENT_AT: 5}, {SENT_AT: "soon"}):
        assert age(OldestMessages(), Heads(headers), 1, 5) is None


def test_a_message_says_when_it_was_sent_last() -> None:
    """Published again, as a dead letter is, it keeps its other headers."""
    headers = stamped({"trace": "1", SENT_AT: "long ago"})
    assert headers["trace"] == "1"
    assert datetime.fromisoformat(headers[SENT_AT]) > START
