"""From samples to the table that a bench prints."""

from __future__ import annotations

import json
from collections import Counter
from io import BytesIO

import pytest
from PIL import Image

from handlers.intake.probe import probe
from infra.bench.figures import Spread, percentile, report
from infra.bench.records import lives
from infra.bench.uploads import BYTES, Times, photo
from shared.runtime.settings import Settings
from shared.uploads.messages import MAX_MESSAGE_BYTES

ROWS = {
    "ours": {
        "rows/s": Spread(5248.4, 4790.0, 5706.0),
        "ratio": Spread.of([2.7, 2.49, 2.592]),
    },
    "a plain one": {"rows/s": 202.25, "moved MB": None, "count": 1234},
}


def test_a_spread_is_the_median_and_both_ends() -> None:
    assert Spread.of([3.0, 1.0, 2.0, 10.0]) == Spread(2.5, 1.0, 10.0)


@pytest.mark.parametrize(
    ("share", "value"), [(0.99, 99), (0.5, 50), (1.0, 100), (0.001, 1)]
)
def test_a_percentile_is_a_value_that_was_measured(share: float, value: int) -> None:
    """The smallest that the share of all values does not exceed."""
    assert percentile(list(range(100, 0, -1)), share) == value
    assert percentile([7.0], share) == 7.0


def test_the_table_is_aligned() -> None:
    """A row for each contender, a column for each figure that any of them has."""
    assert report("recorder", {"events": 6000}, ROWS, as_json=False).splitlines() == [
        "recorder: events 6,000",
        "                             rows/s               ratio  moved MB  count",
        "ours         5,248 (4,790 to 5,706)  2.59 (2.49 to 2.7)         -      -",
        "a plain one                     202                   -         -  1,234",
    ]


def test_the_json_has_every_figure_unrounded() -> None:
    """One object, spreads as objects."""
    printed = json.loads(report("recorder", {"events": 6000}, ROWS, as_json=True))
    assert (printed["bench"], printed["events"]) == ("recorder", 6000)
    assert printed["rows"]["ours"]["rows/s"] == {
        "median": 5248.4,
        "low": 4790.0,
        "high": 5706.0,
    }
    assert printed["rows"]["a plain one"] == {
        "rows/s": 202.25,
        "moved MB": None,
        "count": 1234,
    }


def test_ratios_are_of_the_same_round() -> None:
    """A round in which the machine was slow was slow for both."""
    ours = Times(
        cpu=[[0.005, 0.005], [0.010, 0.010]], wall=[[0.01, 0.02], [0.03, 0.04]]
    )
    theirs = Times(
        cpu=[[0.010, 0.010], [0.030, 0.030]], wall=[[0.01, 0.01], [0.01, 0.01]]
    )
    figures = ours.figures(theirs)
    assert figures["ratio"] == Spread(2.5, 2.0, 3.0)
    assert figures["uploads/s/core"] == pytest.approx(Spread(150.0, 100.0, 200.0))
    assert figures["wall ms"] == pytest.approx(25.0)
    assert figures["p99 cpu ms"] == pytest.approx(10.0)


def test_the_photo_is_one_megabyte_and_accepted() -> None:
    """Distinct each time; the header is one that others read, too."""
    data = photo()
    assert len(data) == BYTES
    assert data != photo()
    header = probe(iter([data]), Settings(), 4).header
    assert (header.format, header.width, header.height, header.mode) == (
        "JPEG",
        1536,
        1024,
        "RGB",
    )
    with Image.open(BytesIO(data)) as image:
        assert (image.format, image.size) == ("JPEG", (1536, 1024))


def test_events_are_lives_of_uploads() -> None:
    """Exactly as many as asked for, each of them new, none larger than a message may
    be.
    """
    events = list(lives(100))
    assert Counter(event.kind for event in events) == {
        "queued": 34,
        "processing": 33,
        "success": 33,
    }
    assert len({event.event_id for event in events}) == 100
    assert max(len(event.encode()) for event in events) < MAX_MESSAGE_BYTES
