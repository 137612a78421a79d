"""Hostile files of every kind, each through the handler and, if that lets it in, through
the decoder's process.

None crashes a process; each has an end state and a reason. These are some of them: all
of them take minutes, in `tests/long/test_hostile.py`.
"""

from __future__ import annotations

from itertools import islice

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import hostile
from tests.support.hostile import Hostile
from tests.support.hostile_pipeline import Pipeline, pipeline  # noqa: F401

ONE_OF = 40


def test_hostile_files_have_an_end_and_a_reason(pipeline: Pipeline) -> None:
    """Refused by their headers, refused by their pixels, or restored: never a crash,
    never nothing.
    """
    ends = pipeline.ends(islice(hostile.corpus(), 0, None, ONE_OF))
    assert ends.total() > 50
    assert {end.split(":")[0] for end in ends} == {"rejected", "failed", "restored"}


def test_files_that_are_no_photos_are_refused_by_the_handler(
    pipeline: Pipeline,
) -> None:
    """What is no photo reaches no decoder, whatever its name says."""
    files = [Hostile("strangers", *file) for file in hostile.strangers()]
    ends = pipeline.ends(files)
    assert {end.split(":")[0] for end in ends} == {"rejected"}


def test_sound_photos_still_pass(pipeline: Pipeline) -> None:
    """The photos that all of these were made from are restored: refusing everything would
    be easy.
    """
    files = [Hostile("sound", *file) for file in hostile.sound().items()]
    assert set(pipeline.ends(files)) == {"restored"}


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_damage_has_an_end(pipeline: Pipeline, data: st.DataObject) -> None:
    """Hypothesis looks for what the lists have missed."""
    name = data.draw(st.sampled_from(sorted(hostile.sound())))
    made = bytearray(hostile.sound()[name])
    changes = data.draw(st.integers(1, 5))
    for _ in range(changes):
        start = data.draw(st.integers(0, len(made) - 1))
        end = start + data.draw(st.integers(0, 6))
        made[start:end] = data.draw(st.binary(max_size=6))
        made = made or bytearray(1)
    assert pipeline.end(Hostile("hypothesis", name, bytes(made)))
