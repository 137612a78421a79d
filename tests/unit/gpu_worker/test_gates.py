"""Which steps the gates skip, by known damage and by made-up figures."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest

from gpu_worker import gates as rules_of
from gpu_worker.look import Look, look
from gpu_worker.photo import Photo
from shared.uploads.documents import PlannedStep, WorkflowRef
from shared.workflows import ResolvedStep, ResolvedWorkflow, gates
from tests.bench import look as bench
from tests.support import damage

RULES = gates()
FINE = Look(
    width=3000,
    height=2000,
    colourfulness=30,
    strongest_colour=60,
    tone=10,
    noise=0.5,
    blockiness=0.2,
    sharpness=0.9,
    haze=0.1,
)
"""A photo that needs nothing."""
GREY = replace(FINE, colourfulness=0.2, strongest_colour=1, tone=0)


def planned(kind: str, look: Look, **params: object) -> PlannedStep:
    step = ResolvedStep(kind, None, params, gated=True)  # type: ignore[arg-type]
    ref = WorkflowRef(name="w", version=1, params=params, signature="0" * 16)
    (found,) = rules_of.plan(ResolvedWorkflow(ref, (step,)), look).steps
    return found


def code(found: PlannedStep) -> str | None:
    return found.skipped.code if found.skipped else None


def test_known_damage_is_told_right() -> None:
    """Every eleventh variant; `python -m tests.bench.look` prints them all."""
    every = (
        variant
        for name, pixels in damage.photos().items()
        for variant in damage.variants(name, pixels)
    )
    counted = bench.tables(islice(every, 0, None, 11))
    assert bench.wrongly_coloured(counted) == 0
    assert bench.right(counted) >= bench.LEAST_RIGHT


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("repair", "whole"),
        ("colorize", "in_colour"),
        ("denoise", "clean"),
        ("faces", "sharp"),
        ("dehaze", "clear"),
        ("upscale", "large_enough"),
    ],
)
def test_a_fine_photo_is_left_alone_unless_forced(kind: str, expected: str) -> None:
    found = planned(kind, FINE)
    assert code(found) == expected
    assert found.skipped is not None
    assert found.skipped.measured, "the figures that decided"
    assert planned(kind, FINE, force=True) == PlannedStep(step=kind)


@pytest.mark.parametrize(
    ("kind", "look"),
    [
        ("repair", replace(FINE, scratches=5)),
        ("colorize", GREY),
        ("denoise", replace(FINE, noise=8)),
        ("denoise", replace(FINE, blockiness=4)),
        ("faces", replace(FINE, sharpness=0.5)),
        ("faces", replace(FINE, noise=8)),
        ("dehaze", replace(FINE, haze=0.6)),
        ("upscale", replace(FINE, width=600, height=400, sharpness=0.5)),
    ],
)
def test_a_photo_that_needs_a_step_gets_it(kind: str, look: Look) -> None:
    assert code(planned(kind, look)) is None


def test_a_tone_is_dropped_or_kept() -> None:
    sepia = replace(GREY, tone=20)
    assert code(planned("colorize", sepia, tone="drop")) is None
    assert code(planned("colorize", sepia, tone="keep")) == "tone_kept"
    assert code(planned("colorize", GREY, tone="keep")) is None


def test_a_small_part_in_colour_is_colour() -> None:
    red_coat = replace(GREY, strongest_colour=40)
    assert code(planned("colorize", red_coat)) == "in_colour"


def test_a_small_photo_that_is_fine_is_not_enlarged() -> None:
    assert code(planned("upscale", replace(FINE, width=600, height=400))) == "fine"


def test_faces_that_were_looked_at_decide() -> None:
    no_face = replace(FINE, sharpness=0.5, faces=0)
    assert code(planned("faces", no_face)) == "no_face"
    soft_face = replace(FINE, faces=1, face_sharpness=0.5)
    assert code(planned("faces", soft_face)) is None


def test_strengths_are_mild_and_grow_with_the_damage() -> None:
    slight = planned("denoise", replace(FINE, noise=RULES.noisy_from)).params
    strong = planned("denoise", replace(FINE, noise=40)).params
    assert slight == {"strength": RULES.mild_at_threshold}
    assert strong == {"strength": RULES.mild_at_most}


def test_a_strength_that_was_given_stands() -> None:
    noisy = replace(FINE, noise=8)
    assert planned("denoise", noisy, strength=1.0).params == {}


def test_a_figure_is_not_computed_in_another_way_under_the_same_version() -> None:
    """The same photo must be decided on in the same way: raise the version of the
    gates, and write the figures here.
    """
    figures = {
        2: {
            "width": 226,
            "height": 150,
            "colourfulness": 19.287,
            "tone": 29.143,
            "noise": 0.71,
            "blockiness": 0.442,
            "sharpness": 0.771,
            "haze": 0.188,
        }
    }
    seen = look(Photo(damage.photos()["cat"])).as_dict()
    expected = figures[RULES.version]
    assert {name: seen[name] for name in expected} == pytest.approx(expected, abs=0.01)


def test_a_step_without_a_gate_is_never_skipped() -> None:
    step = ResolvedStep("upscale", None, {})
    ref = WorkflowRef(name="w", version=1, params={}, signature="0" * 16)
    (found,) = rules_of.plan(ResolvedWorkflow(ref, (step,)), FINE).steps
    assert found == PlannedStep(step="upscale")
