"""Whatever an uploader writes into the metadata: it has an end, and hides no other
upload from the sweep.
"""

from __future__ import annotations

from encodings.aliases import aliases

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handlers.intake import upload_options
from handlers.on_upload import on_upload
from shared.errors import PermanentError, TransientError
from shared.uploads.documents import Reason, Receipt
from shared.uploads.messages import LogEvent
from tests.support.reconcile_world import Town
from tests.support.upload_world import World, photo

NAMES = ("workflow", "params", "user", "priority", "callback", "filename")
CODECS = sorted(
    {
        *aliases.values(),
        "idna",
        "punycode",
        "unicode_escape",
        "raw_unicode_escape",
        "undefined",
        "utf_7",
    }
)
WORDS = (
    "+2AA-",
    "=FF=FE=00=D8",
    "a" * 60,
    "\\ud800",
    "xn--" + "z" * 40,
    "=00",
    "=1B$B",
)
PHOTO = photo()

characters = st.characters(codec=None, exclude_categories=())
plain = st.text(characters, max_size=60)
words = st.builds(
    "=?{}?{}?{}?=".format,
    st.sampled_from([*CODECS, "utf-8", "iso-8859-1", "windows-1252", "x", ""]),
    st.sampled_from("qQbBx"),
    st.one_of(st.sampled_from(WORDS), plain),
)
escaped = st.binary(max_size=20).map(
    lambda data: "".join(f"%{byte:02x}" for byte in data)
)
raw = st.binary(max_size=60).map(lambda data: data.decode("latin-1"))
split = st.sampled_from(
    [
        "a\r\nx-amz-meta-user: b",
        "a\nb",
        "\r\n\r\n<html>",
        "a\0b",
        "%0d%0aSet-Cookie: a",
        "%00",
    ]
)
long = st.builds(
    lambda piece, times: (piece * times)[:6000],
    st.one_of(words, plain),
    st.integers(1, 500),
)
values = st.one_of(
    plain, words, escaped, raw, split, long, st.builds("{} {}".format, words, words)
)
metadata = st.dictionaries(
    st.sampled_from([*NAMES, "Filename", "USER"]), values, max_size=6
)


def ends(told: dict[str, str]) -> None:
    """The upload is decided on, the same at its second event, and every document and
    message of it can be read.
    """
    world = World()
    event = world.put("a.png", PHOTO, told)
    try:
        decision = on_upload(event, world.ctx)
    except (PermanentError, TransientError):
        return
    assert decision.kind in ("queued", "rejected")
    for name, data in world.documents().items():
        kind = Reason if name.endswith("reason.json") else Receipt
        kind.from_bytes(data, name.partition("/")[2]).to_bytes()
    assert [LogEvent.encode(row) for row in world.log()]
    world.clock.advance(5)
    assert on_upload(event, world.ctx).repeated


@pytest.mark.parametrize("name", NAMES)
def test_words_in_every_codec_of_python_have_an_end(name: str) -> None:
    """Also of those that make bytes of text, or half a surrogate pair, or take their
    time.
    """
    for number, codec in enumerate(CODECS):
        for word in (WORDS[0], WORDS[1 + number % (len(WORDS) - 1)]):
            ends({name: f"=?{codec}?q?{word}?="})


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(metadata)
def test_any_metadata_have_an_end(told: dict[str, str]) -> None:
    ends(told)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(metadata)
def test_no_metadata_hide_another_upload_from_the_sweep(told: dict[str, str]) -> None:
    """The one before it and the one behind it are found in the same pass, and it itself
    is looked at once.
    """
    town = Town()
    town.store.arrive("uploads", "b.png", PHOTO, "image/png", told)
    for name in ("a.png", "c.png"):
        town.put(name)
    town.later()
    report = town.sweep()
    assert (report.notifications_missed, report.failed) == (3, 0)
    town.later()
    assert town.sweep().notifications_missed == 0


@given(st.one_of(values, st.text(characters)))
def test_what_was_read_can_always_be_written(value: str) -> None:
    """In a document, in a row of the log, on a line."""
    assert upload_options.decoded(value).encode().decode() == upload_options.decoded(
        value
    )
    assert len(upload_options.decoded(value)) <= max(len(value), 1) * 4
