"""The stream of a photo's progress: what is told, in what order, and where it goes on
after a break.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import anyio
import pytest

from handlers.http.api import events
from handlers.http.api.state import State
from shared.errors import Code, StorageUnavailable
from shared.uploads.documents import Fault

FAULT = Fault(error_code=Code.DECODE_ERROR, error_detail="no picture")
QUEUED, HALF, FAILED_TRY = (
    State("queued"),
    State("processing", None, 1, 0.5),
    State("queued", None, 1),
)
SECOND, DONE = State("processing", None, 2, 0.25), State("success", None, 2, 1.0)


def told(
    states: Iterable[State | Exception], after: events.Position | None = None
) -> list[str]:
    """What a client receives while the bucket shows one state after the other."""
    shown: Iterator[State | Exception] = iter(states)

    def look() -> State:
        found = next(shown)
        if isinstance(found, Exception):
            raise found
        return found

    async def collect() -> list[str]:
        return [text async for text in events.follow(look, "t", after, poll_s=0)]

    return anyio.run(collect)


def names(texts: list[str]) -> list[tuple[str, str]]:
    """(id, event) of those that are events."""
    lines = [
        dict(line.split(": ", 1) for line in text.strip().splitlines())
        for text in texts
        if text[:3] == "id:"
    ]
    return [(line["id"], line["event"]) for line in lines]


def test_every_change_is_told_once_in_order() -> None:
    """A try that failed waits again, and the stream ends with the photo."""
    found = names(told([QUEUED, QUEUED, HALF, HALF, FAILED_TRY, SECOND, DONE, DONE]))
    expected = [
        ("0.0", "queued"),
        ("1.500", "progress"),
        ("1.1001", "queued"),
        ("2.250", "progress"),
    ]
    assert found == [*expected, ("end", "finished")]


@pytest.mark.parametrize(
    ("last", "left"),
    [
        ("0.0", 4),
        ("1.500", 3),
        ("1.1001", 2),
        ("2.250", 1),
        ("nonsense", 5),
        (None, 5),
        ("9" * 40, 5),
    ],
)
def test_it_goes_on_after_the_last_event_that_was_seen(
    last: str | None, left: int
) -> None:
    """At any process, as an event's id is a place; what is no id of ours begins at the
    beginning.
    """
    after = events.position_of(last)
    assert len(names(told([QUEUED, HALF, FAILED_TRY, SECOND, DONE], after))) == left


def test_the_last_event_says_why() -> None:
    (text,) = [text for text in told([State("failed", FAULT)]) if "finished" in text]
    assert '"error": {"code": "decode_error", "detail": "no picture"}' in text


def test_a_store_that_is_away_does_not_end_it() -> None:
    found = told([QUEUED, StorageUnavailable("gone"), DONE])
    assert ": the store is away\n\n" in found
    assert names(found)[-1] == ("end", "finished")


def test_a_silent_photo_keeps_the_line_alive() -> None:
    found = told([QUEUED] * (events.HEARTBEAT_POLLS + 1) + [DONE])
    assert found.count(": heartbeat\n\n") == 1


def test_no_stream_lasts_for_ever() -> None:
    """The client comes again by itself."""
    assert names(told([QUEUED] * (events.LONGEST_POLLS + 1))) == [("0.0", "queued")]
