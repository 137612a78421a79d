"""The stream of a photo's progress: which events it has, in what order, and where it
resumes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace

import anyio
import pytest

from handlers.http.api import streams
from handlers.http.api.state import State
from shared.errors import Code, StorageUnavailable
from shared.uploads.claims import DraftNote
from shared.uploads.documents import Fault

FAULT = Fault(error_code=Code.DECODE_ERROR, error_detail="no picture")
QUEUED = State("queued")
HALF = State("processing", None, 1, 0.5)
FAILED_ATTEMPT = State("queued", None, 1)
SECOND = State("processing", None, 2, 0.25)
DONE = State("success", None, 2, 1.0)


def received(
    states: Iterable[State | Exception], after: streams.Position | None = None
) -> list[str]:
    """What a client receives while the bucket shows one state after the other."""
    shown: Iterator[State | Exception] = iter(states)

    def read() -> State:
        state = next(shown)
        if isinstance(state, Exception):
            raise state
        return state

    async def collect() -> list[str]:
        stream = streams.follow(read, "t", after, poll_s=0)
        return [event.decode() async for event in stream]

    return anyio.run(collect)


def events(texts: list[str]) -> list[tuple[str, str]]:
    """(id, event) of those that are events, not comments."""
    found = []
    for text in texts:
        lines = text.strip().splitlines()
        fields = dict(line.split(": ", 1) for line in lines)
        if "event" in fields:
            found.append((fields["id"], fields["event"]))
    return found


def test_every_change_is_sent_once_in_order() -> None:
    """An attempt that failed waits again, and the stream ends with the photo."""
    states = [QUEUED, QUEUED, HALF, HALF, FAILED_ATTEMPT, SECOND, DONE, DONE]
    assert events(received(states)) == [
        ("0.0", "queued"),
        ("1.500", "progress"),
        ("1.1001", "queued"),
        ("2.250", "progress"),
        ("end", "finished"),
    ]


def test_progress_says_what_can_be_seen() -> None:
    draft = DraftNote(number=2, signature="ab")
    texts = received([HALF, replace(HALF, progress=0.75, draft=draft), DONE])
    said = [json.loads(text.rpartition("data: ")[2]) for text in texts[1:]]
    assert [each.get("draft") for each in said] == [None, draft.model_dump(), None]


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
def test_it_resumes_after_the_last_event_that_was_seen(
    last: str | None, left: int
) -> None:
    """At any process, as an event's id is a position; any other id begins at the
    beginning.
    """
    after = streams.position_of(last)
    states = [QUEUED, HALF, FAILED_ATTEMPT, SECOND, DONE]
    assert len(events(received(states, after))) == left


def test_the_last_event_says_why() -> None:
    texts = received([State("failed", FAULT)])
    (text,) = [text for text in texts if "finished" in text]
    assert '"error": {"code": "decode_error", "detail": "no picture"}' in text


def test_a_store_that_is_away_does_not_end_it() -> None:
    texts = received([QUEUED, StorageUnavailable("gone"), DONE])
    assert ": the store is away\n\n" in texts
    assert events(texts)[-1] == ("end", "finished")


def test_a_stream_without_events_is_kept_alive() -> None:
    texts = received([QUEUED] * (streams.HEARTBEAT_POLLS + 1) + [DONE])
    assert texts.count(": heartbeat\n\n") == 1


def test_no_stream_lasts_for_ever() -> None:
    """The client connects again by itself."""
    texts = received([QUEUED] * (streams.LONGEST_POLLS + 1))
    assert events(texts) == [("0.0", "queued")]
