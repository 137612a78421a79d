"""Thousands of hostile files, each through the handler and, if that lets it in, through
the decoder's process.

None crashes a process; each has an end state and a reason.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.support import hostile
from tests.support.extras import without
from tests.support.hostile import Hostile
from tests.support.hostile_pipeline import Pipeline, pipeline  # noqa: F401


def printed(kind: str, ends: Counter[str]) -> None:
    counts = [f"{end.replace(': ', '/')}={n}" for end, n in sorted(ends.items())]
    print(f"hostile kind={kind} files={ends.total()} {' '.join(counts)}")


@pytest.mark.parametrize("kind", hostile.GROUPS)
def test_every_hostile_file_has_an_end_and_a_reason(
    pipeline: Pipeline, kind: str
) -> None:
    """Refused by its header, refused by its pixels, or restored: never a crash, never
    nothing.
    """
    ends = pipeline.ends(
        Hostile(kind, key, data) for key, data in hostile.GROUPS[kind]()
    )
    printed(kind, ends)
    assert ends.total() > 50


def test_there_are_enough_of_them() -> None:
    """At least two thousand different malformed files; photos that only carry something
    are not counted.
    """
    malformed = {
        file.data for file in hostile.corpus() if file.kind not in ("polyglots", "keys")
    }
    print(f"hostile_files={len(malformed)}")
    assert len(malformed) >= 2000


SAMPLES = Path(os.environ.get("DARKROOM_TEST_SAMPLES", "no such folder"))
"""An unpacked source package of an imaging library: `pip download --no-binary pillow
--no-deps pillow`.
"""


def test_samples_of_imaging_libraries(pipeline: Pipeline) -> None:
    """What once crashed, filled or stalled a decoder, and every odd file that its tests
    ship.
    """
    if not SAMPLES.is_dir():
        without("DARKROOM_TEST_SAMPLES names no folder with an unpacked source package")
    files = sorted(
        path
        for path in SAMPLES.rglob("*")
        if path.is_file() and "Tests" in path.parts and path.suffix != ".py"
    )
    ends = pipeline.ends(
        Hostile("samples", path.name, path.read_bytes()) for path in files
    )
    printed("samples", ends)
    assert ends.total() > 500
