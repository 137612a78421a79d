"""Thousands of hostile files, each through the handler and, if that lets it in, through
the decoder's process.

None crashes a process; each has an end state and a reason.
"""

from __future__ import annotations

import io
import os
import queue
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpu_worker.codec import Decoder, preview, write_png
from gpu_worker.photo import Photo
from shared.broker import topology
from shared.errors import Code, PermanentError
from shared.runtime.settings import Settings
from shared.uploads.documents import Receipt
from tests.support import hostile
from tests.support.hostile import Hostile
from tests.support.upload_world import World

SETTINGS = Settings(decode_seconds=20)
SMALL = 100_000
REFUSALS = frozenset(
    {
        Code.DECODE_ERROR,
        Code.UNSUPPORTED_MODE,
        Code.OUT_OF_MEMORY,
        Code.TOO_MANY_PIXELS,
        Code.ANIMATED,
    }
)


class Pipeline:
    """What a hostile file meets, a few files at a time: a handler in memory, then a
    decoder.
    """

    def __init__(self) -> None:
        self.decoders = [Decoder(SETTINGS) for _ in range(min(4, os.cpu_count() or 1))]
        self._free: queue.SimpleQueue[Decoder] = queue.SimpleQueue()
        for decoder in self.decoders:
            self._free.put(decoder)

    def ends(self, files: Iterable[Hostile]) -> Counter[str]:
        """How many ended how. Fails with the name of the first file whose end is none."""
        with ThreadPoolExecutor(len(self.decoders)) as pool:
            return Counter(pool.map(self.end, files))

    def end(self, file: Hostile) -> str:
        try:
            return self._end(file)
        except Exception as error:
            raise AssertionError(f"{file.kind}: {file.key!r}: {error!r}") from error

    def _end(self, file: Hostile) -> str:
        world = World()
        decision = world.upload(file.key, file.data)
        if decision.kind == "rejected":
            reason = world.reason(decision)
            assert reason.error_code == decision.code
            assert len(reason.error_detail) > 15
            return f"rejected: {reason.error_code}"
        assert decision.kind == "queued"
        assert world.tasks(topology.BULK) or world.tasks(topology.INTERACTIVE)
        return self._decoded(file.data, world.receipt(decision))

    def _decoded(self, data: bytes, receipt: Receipt) -> str:
        assert receipt.source.width
        assert receipt.source.height
        decoder = self._free.get()
        try:
            photo = decoder.decode(data, receipt.source.width * receipt.source.height)
        except PermanentError as error:
            return f"failed: {_checked(error)}"
        finally:
            self._free.put(decoder)
        self._stored(photo, decoder)
        return "restored"

    @staticmethod
    def _stored(photo: Photo, decoder: Decoder) -> None:
        """What decoded can be written, too."""
        assert photo.pixels.size <= 3 * SETTINGS.max_pixels
        if photo.width * photo.height <= SMALL:
            write_png(photo, io.BytesIO(), {}, 1, threads=1)
            preview(photo, Settings(label_preview=False), converter=decoder)


def _checked(error: PermanentError) -> Code:
    """A decoder that refuses a file says so itself; the worker's words for one that
    died are other words.
    """
    assert error.code in REFUSALS
    assert len(error.detail) > 15
    assert not re.search("crashed|killed|was stopped", error.detail)
    return error.code


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    made = Pipeline()
    yield made
    for decoder in made.decoders:
        decoder.close()


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


SAMPLES = Path(os.environ.get("DARKROOM_TEST_SAMPLES", "no such folder"))
"""An unpacked source package of an imaging library: `pip download --no-binary pillow
--no-deps pillow`.
"""


@pytest.mark.skipif(
    not SAMPLES.is_dir(),
    reason="DARKROOM_TEST_SAMPLES names no folder with an unpacked source package",
)
def test_samples_of_imaging_libraries(pipeline: Pipeline) -> None:
    """What once crashed, filled or stalled a decoder, and every odd file that its tests
    ship.
    """
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
