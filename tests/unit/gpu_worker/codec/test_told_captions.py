"""Captions that came beside a photo take the place of what its file says of the same."""

from __future__ import annotations

import numpy as np

from gpu_worker.codec import captions
from gpu_worker.codec.told_captions import with_told
from gpu_worker.photo import Metadata, Photo, Property
from shared.uploads.told_captions import NAMES


def test_what_was_told_holds_and_all_else_stays() -> None:
    own = (
        Property(name="dc:title", text="old"),
        Property(name="dc:source", text="box"),
    )
    photo = Photo(np.zeros((2, 2, 3), np.uint8), meta=Metadata(captions=own))
    told = with_told(photo, {"dc.title": "Grandma <3", "dc.subject": "a | b"})
    names = [each.name for each in told.meta.captions]
    assert names == ["dc:source", "dc:title", "dc:subject"]
    assert "Grandma &lt;3" in captions.xml(told.meta.captions)
    assert [item.text for item in told.meta.captions[2].items] == ["a", "b"]
    assert "dc:title" in told.notes[0]
    assert with_told(photo, None) is photo


def test_every_name_can_be_told() -> None:
    photo = Photo(np.zeros((2, 2, 3), np.uint8))
    told = with_told(photo, dict.fromkeys(NAMES, "x"))
    assert len(told.meta.captions) == len(NAMES)
