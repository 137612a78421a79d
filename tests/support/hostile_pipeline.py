"""What a hostile file meets: a handler in memory and, if that lets it in, the decoder's
process.
"""

from __future__ import annotations

import io
import os
import queue
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from gpu_worker.codec import Decoder, preview, write_png
from gpu_worker.photo import Photo
from shared.broker import topology
from shared.errors import Code, PermanentError
from shared.runtime.settings import Settings
from shared.uploads.documents import Receipt
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
