"""One suite over every broker, part four: people look at the dead_letter, put them back, throw
them away.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.broker import dead_letters
from shared.broker.depth import depth
from shared.broker.publisher import Publisher
from shared.broker.topology import BULK, LOG
from shared.errors import NotFound
from shared.runtime.settings import Settings
from tests.support.harness import consuming
from tests.support.waiting import eventually

BAD = b"\xff{bad"


@pytest.fixture
def laid_out(settings: Settings) -> Iterator[Settings]:
    """Two dead messages in two queues, and none before."""
    dead_letters.drop(settings)
    publisher = Publisher(settings)
    publisher.publish(BULK, BAD, {"trace": "t"})
    publisher.publish(LOG, b"worse")
    publisher.close()
    with consuming(
        settings,
        {BULK: 1, LOG: 1},
        lambda d: d.dead("bad_message", f"not for {d.queue}"),
    ) as taken:
        taken.take(2)
    eventually(lambda: len(dead_letters.letters(settings)) == 2, "two dead messages")
    yield settings
    dead_letters.drop(settings)


def test_looking_at_the_dead_changes_nothing(laid_out: Settings) -> None:
    """Listing and showing leave every message where it is, with bytes, reason and its
    own headers.
    """
    looks = [
        {letter.queue: letter for letter in dead_letters.letters(laid_out)}
        for _ in range(3)
    ]
    assert looks[0].keys() == {BULK, LOG}
    assert looks[0] == looks[1] == looks[2]
    bulk = looks[0][BULK]
    assert (bulk.body, bulk.code, bulk.detail) == (
        BAD,
        "bad_message",
        f"not for {BULK}",
    )
    assert bulk.headers.keys() == {"trace", "sent_at"}
    assert bulk.headers["trace"] == "t"
    assert dead_letters.find(laid_out, bulk.id) == bulk
    with pytest.raises(NotFound, match="darkroom dead list"):
        dead_letters.find(laid_out, "0" * 12)


def test_a_dead_message_is_put_back_where_it_came_from(laid_out: Settings) -> None:
    """`retry` of one id moves that message, bytes and headers unchanged, and no other."""
    ident = next(
        letter.id for letter in dead_letters.letters(laid_out) if letter.queue == BULK
    )
    assert dead_letters.retry(laid_out, [ident]) == 1
    assert [letter.queue for letter in dead_letters.letters(laid_out)] == [LOG]
    with consuming(laid_out, {BULK: 1}, lambda d: d.ack()) as taken:
        again = taken.take(1)[0]
        assert (again.body, again.headers["trace"]) == (BAD, "t")
        assert "code" not in again.headers


def test_dropping_is_for_good(laid_out: Settings) -> None:
    """`drop` without ids empties every dead queue and says how many went."""
    assert dead_letters.drop(laid_out) == 2
    assert dead_letters.letters(laid_out) == []
    eventually(
        lambda: (
            not any(n for name, n in depth(laid_out).items() if name.endswith(".dead"))
        ),
        "empty queues",
    )
