"""Results compared with what the same photos give when nothing is broken."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from gpu_worker import codec, engines
from gpu_worker.restore import restore
from shared import workflows
from shared.errors import NotFound
from shared.uploads.documents import Record

if TYPE_CHECKING:
    from tests.chaos.world import World

SAMPLE = 100


def differing(world: World, records: list[Record], seed: int) -> tuple[int, list[str]]:
    """Number of results compared, and the tasks whose pixels are not those of a run by
    hand.
    """
    engine = engines.select(world.settings)
    compared, wrong = 0, []
    for record in random.Random(seed).sample(records, min(SAMPLE, len(records))):
        source = record.source
        try:
            data = world.store.read(source.bucket, source.key, source.version)
        except NotFound:
            continue  # deleted by its owner since
        photo = codec.decode(data, codec.Limits.of(world.settings))
        if (photo.width, photo.height) != (source.width, source.height):
            continue  # overwritten by its owner since
        resolved = workflows.resolve(record.workflow.name, record.workflow.params)
        expected = restore(
            photo, resolved, engine, world.settings, lambda _: None
        ).photo.pixels
        stored = world.store.read(world.settings.bucket_results, record.result_key)
        with Image.open(io.BytesIO(stored)) as image:
            same = np.array_equal(np.asarray(image).reshape(expected.shape), expected)
        compared += 1
        wrong += [] if same else [record.task_id]
    return compared, wrong
