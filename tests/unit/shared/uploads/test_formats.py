"""Formats of copies, as they are asked for, and what they do to a task's identity."""

from __future__ import annotations

import pytest

from shared.errors import Code, PermanentError
from shared.runtime.settings import Settings
from shared.uploads import formats, identity


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("none", []),
        ("jpeg", ["jpeg"]),
        ("tiff, jpeg jpeg", ["jpeg", "tiff"]),
        ("labelled,same", ["same", "labelled"]),
    ],
)
def test_formats_are_a_set_in_one_order(text: str, expected: list[str]) -> None:
    assert formats.parse(text) == expected
    assert Settings(formats=text).formats == text


@pytest.mark.parametrize("text", ["jpg", "jpeg;webp", "JPEG", "png"])
def test_an_unknown_format_is_refused_by_name(text: str) -> None:
    with pytest.raises(PermanentError, match=r"formats: .*jpeg, webp") as caught:
        formats.parse(text)
    assert caught.value.code == Code.BAD_PARAMETER


def test_other_copies_are_another_task() -> None:
    """Whoever asks for other copies of the same photo gets them; without any, ids are
    those of every release before.
    """
    plain = identity.task_id("u", "s", "w")
    assert identity.task_id("u", "s", "w", []) == plain
    found = {plain}
    for wanted in (["jpeg"], ["jpeg", "labelled"], ["webp"]):
        found.add(identity.task_id("u", "s", "w", wanted))
    assert len(found) == 4


@pytest.mark.parametrize(
    ("source", "expected"),
    [("JPEG", "jpeg"), ("TIFF", "tiff"), ("HEIC", "jpeg"), ("PNG", None), (None, None)],
)
def test_same_is_the_originals_own_format(
    source: str | None, expected: str | None
) -> None:
    assert formats.file_format("same", source) == expected
    assert formats.file_format("webp", source) == "webp"
