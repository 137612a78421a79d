"""Every provider's notification becomes our own events, whatever shape it comes in."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from handlers.intake.notifications import MAX_BYTES, UploadEvent, parse
from shared.errors import MessageError

EVENTS = Path(__file__).parents[3] / "events"
EXPECTED: dict[str, Any] = json.loads((EVENTS / "expected.json").read_bytes())
RECORDED = sorted(
    path.stem for path in EVENTS.glob("*.json") if path.stem != "expected"
)


def as_json(event: UploadEvent) -> dict[str, Any]:
    values = asdict(event) | {
        "event_time": event.event_time and event.event_time.isoformat()
    }
    return {
        name: value
        for name, value in values.items()
        if value is not None and name != "bucket"
    }


def read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_bytes())
    return document


def refused(body: bytes, headers: dict[str, str] | None = None) -> str:
    with pytest.raises(MessageError) as caught:
        parse(body, headers or {}, "uploads")
    return caught.value.detail


def test_every_example_says_what_it_is_to_become() -> None:
    """An example without an expectation proves nothing."""
    assert sorted(EXPECTED) == RECORDED
    assert len(RECORDED) > 40


@pytest.mark.parametrize("name", RECORDED)
def test_example(name: str) -> None:
    """Keys are decoded as this provider encodes them; deletions, folders, parts and
    retired versions are nothing.
    """
    expected = EXPECTED[name]
    events = parse(
        (EVENTS / f"{name}.json").read_bytes(), expected.get("headers", {}), "uploads"
    )
    assert [as_json(event) for event in events] == expected["events"]
    assert {event.bucket for event in events} <= {"uploads"}


@pytest.mark.parametrize("name", RECORDED)
def test_other_buckets_are_nothing(name: str) -> None:
    """Results written by Darkroom never trigger Darkroom: only the bucket of the
    uploads counts.
    """
    assert (
        parse(
            (EVENTS / f"{name}.json").read_bytes(),
            EXPECTED[name].get("headers", {}),
            "elsewhere",
        )
        == []
    )


def test_providers_agree_about_one_key() -> None:
    """The same object told of in three encodings is the same event."""
    names = ("aws-put", "aws-sns-in-sqs", "cloudevents-binary", "cloudevents-s3-part")
    events = [
        parse(
            (EVENTS / f"{n}.json").read_bytes(),
            EXPECTED[n].get("headers", {}),
            "uploads",
        )[0]
        for n in names
    ]
    assert {event.key for event in events} == {"in/red flower+100% 中.jpg"}


def test_a_rename_is_told_by_its_new_name() -> None:
    """SeaweedFS names the old path first; the object is at the new one."""
    assert read("seaweedfs-rename")["key"] == "/buckets/uploads/filer.jpg"
    assert (
        parse((EVENTS / "seaweedfs-rename.json").read_bytes(), {}, "uploads")[0].key
        == "moved.jpg"
    )


def test_new_metadata_on_old_bytes_is_an_event() -> None:
    """Within one second of the first put, only the metadata tell that another workflow
    is asked for.
    """
    event = read("seaweedfs-metadata-replaced")
    event["message"]["new_entry"]["attributes"] = event["message"]["old_entry"][
        "attributes"
    ]
    assert [e.kind for e in parse(json.dumps(event).encode(), {}, "uploads")] == [
        "overwrite"
    ]


def test_a_folder_that_only_looks_like_versions_is_an_ordinary_key() -> None:
    """`.versions/v_…` is a version only where the entry says which version it is."""
    event = read("seaweedfs-create")
    event["message"]["new_entry"]["name"] = "v_1.jpg"
    event["message"]["new_parent_path"] = "/buckets/uploads/in.versions"
    assert (
        parse(json.dumps(event).encode(), {}, "uploads")[0].key == "in.versions/v_1.jpg"
    )


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b"not json", "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a":' * 100_000, "not JSON"),
        (
            b'{"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "uploads"}}}]}',
            "s3.object",
        ),
        (b'{"Records": [1]}', "not a storage notification"),
        (b'{"Records": null}', "not a storage notification"),
        (b'{"Records": [{"body": "{"}]}', "not JSON"),
        (
            b'{"event_type": "create", "message": {"new_entry": {"name": 7}}}',
            "message.new_entry.name",
        ),
        (
            b'{"event_type": "create", "message": {"new_parent_path": "/buckets/b", "new_entry":'
            b' {"name": "a", "extended": {"Seaweed-X-Amz-ETag": "a"}}}}',
            "not a storage notification",
        ),
        (b'{"hello": "world"}', "none of the shapes"),
        (b"42", "not a JSON object"),
        (
            b'{"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "uploads"}, "object":'
            b' {"key": "%FF"}}}]}',
            "not a storage notification",
        ),
        (
            b'{"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "uploads"}, "object":'
            b' {"key": "\\ud800"}}}]}',
            "not JSON",
        ),
        (
            b'{"specversion": "1.0", "type": "com.amazonaws.s3.ObjectCreated:Put"}',
            "without a JSON object",
        ),
        (b'{"specversion": "2.0", "type": "x", "data": {}}', "version '2.0'"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_reason(body: bytes, says: str) -> None:
    """Foreign bytes end in one error that names what is wrong, never in a crash."""
    assert says in refused(body)


def test_an_unknown_major_version_is_refused() -> None:
    """Fields may have changed their meaning; minor versions only add some
    (`aws-newer-minor-version`).
    """
    event = read("aws-put")
    event["Records"][0]["eventVersion"] = "3.0"
    assert "version '3.0'" in refused(json.dumps(event).encode())


def test_size_is_limited() -> None:
    """Over 1 MB nothing is even parsed."""
    assert "1000000" in refused(b" " * (MAX_BYTES + 1))


def test_wrapping_is_limited() -> None:
    """A message in a message in a message … ends."""
    document = json.dumps(read("aws-put"))
    for _ in range(10):
        document = json.dumps({"Records": [{"body": document}]})
    assert "wrapped" in refused(document.encode())


def test_no_link_is_followed_to_confirm_a_subscription() -> None:
    """A URL from a message is not opened; a person is told to."""
    assert "by hand" in refused(
        b'{"Type": "SubscriptionConfirmation", "SubscribeURL": "http://169.254.169.254/"}'
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A recorded notification with one of its values replaced by any JSON value."""
    document: Any = read(draw(st.sampled_from(RECORDED)))
    node: Any = {"root": document}
    name: Any = "root"
    while (
        isinstance(node[name], (dict, list)) and node[name] and draw(st.integers(0, 5))
    ):
        node = node[name]
        name = draw(
            st.sampled_from(
                sorted(node) if isinstance(node, dict) else range(len(node))
            )
        )
    node[name] = draw(json_values)
    return json.dumps(document).encode()


@given(
    damaged()
    | st.binary(max_size=64)
    | st.builds(lambda v: json.dumps(v).encode(), json_values)
)
@example(b'{"Records": [{"Sns": 1}]}')
def test_no_bytes_crash_the_reader(body: bytes) -> None:
    """Any bytes are events or a `MessageError`."""
    try:
        events = parse(body, {}, "uploads")
    except MessageError:
        return
    assert all(isinstance(event.key, str) and event.key for event in events)
