"""`python -m gpu_worker rerun TASK…`: a photo that was restored is restored again, on
this machine by this release, and compared with its result. Nothing is stored.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import struct
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import IO

import numpy as np

from gpu_worker import codec, engines, gates
from gpu_worker.engines import Engine
from gpu_worker.photo import Mask, Photo
from gpu_worker.pipeline.prepare import fetch, resolve
from gpu_worker.pipeline.preview_region import preview_region
from gpu_worker.pipeline.record import LABEL_NOTE
from gpu_worker.restore import Restored, restore, seed_of
from shared import workflows
from shared.errors import DarkroomError
from shared.models import use_local
from shared.runtime import telemetry
from shared.runtime.settings import Settings
from shared.s3.store import S3Store
from shared.uploads import masks
from shared.uploads.documents import Record
from shared.uploads.store import UploadStore

SPOOL_BYTES = 64 << 20
PNG_HEAD = 8


@dataclass
class Rerun:
    """One photo restored again. `identical`: every pixel has the same bits; None: it
    was not compared, or `error` says why it could not be.
    """

    task_id: str
    identical: bool | None = None
    seconds: float = 0.0
    workflow: str = ""
    engine: str = ""
    made_by: str = ""
    sha256: str = ""
    differing: int = 0
    greatest: int = 0
    error: str = ""


class Rerunner:
    """Restores photos again; the engine is loaded once."""

    def __init__(self, settings: Settings, engine: Engine | None = None) -> None:
        self._settings = settings
        self._store = S3Store(settings)
        workflows.use(workflows.Shelf(self._store, settings.bucket_results))
        self._uploads = UploadStore(self._store, settings)
        self._engine = engine or engines.select(settings)
        self._decoder = codec.Decoder(settings)

    def __call__(self, task_id: str, compares: bool) -> Rerun:
        """A fault of one photo is its `error`."""
        rerun = Rerun(task_id)
        started_s = time.monotonic()
        try:
            self._run(rerun, compares)
        except DarkroomError as error:
            rerun.error = f"{error.code}: {error.detail}"
        rerun.seconds = round(time.monotonic() - started_s, 3)
        return rerun

    def _run(self, rerun: Rerun, compares: bool) -> None:
        record = self._uploads.record(rerun.task_id)
        rerun.workflow = f"{record.workflow.name} {record.workflow.version}"
        rerun.made_by = f"{record.engine} on {record.device}, {record.software}"
        restored = self._restored(record)
        rerun.engine = f"{restored.engine} on {restored.device}"
        with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as file:
            rerun.sha256 = self._encoded(record, restored, file).sha256
            if compares:
                self._compare(rerun, record, file)

    def _restored(self, record: Record) -> Restored:
        workflow = resolve(record.workflow)
        source = record.source
        pixels = (
            source.width * source.height if source.width and source.height else None
        )
        data = fetch(self._store, source)
        photo = self._decoder.decode(data, pixels, source.page or 1)
        plan = record.plan or gates.plan_of(photo, workflow, self._settings)
        if record.preview is not None:
            photo = preview_region(photo, record.preview, self._settings)
        return restore(
            photo,
            workflow,
            self._engine,
            self._settings,
            lambda _: None,
            plan,
            seed=seed_of(record.task_id),
            painted=self._painted(record),
        )

    def _painted(self, record: Record) -> Mask | None:
        """The mask that was sent with the photo. That of the result is the same."""
        given = str(record.workflow.params.get("mask", ""))
        if record.mask_key is None or not masks.is_picture(given):
            return None
        data = self._store.read(self._settings.bucket_results, record.mask_key)
        return self._decoder.decode(bytearray(data)).pixels[:, :, 0] > 0

    def _encoded(
        self, record: Record, restored: Restored, file: IO[bytes]
    ) -> codec.Written:
        settings = self._settings
        applied = restored.applied or resolve(record.workflow)
        words = restored.photo.meta.captions
        text = codec.texts(record.task_id, applied, settings.label_producer, words)
        photo: Photo = restored.photo
        if LABEL_NOTE in record.notes:
            codec.stamp(photo, settings.label_text)
        return codec.write_png(photo, file, text, settings.png_level)

    def _compare(self, rerun: Rerun, record: Record, file: IO[bytes]) -> None:
        bucket = self._settings.bucket_results
        stored = self._store.read(bucket, record.result_key)
        found = hashlib.sha256(stored).hexdigest()
        if found != record.result_sha256:
            rerun.error = f"the stored result has SHA-256 {found}, its record says {record.result_sha256}"
            rerun.identical = False
            return
        file.seek(0)
        again = file.read()
        rerun.identical = again == stored or pixels_of(again) == pixels_of(stored)
        if not rerun.identical:
            self._measure(rerun, again, stored)

    def _measure(self, rerun: Rerun, again: bytes, stored: bytes) -> None:
        """How many samples differ, and by how much at most; where filters alone differ
        none does.
        """
        one, other = (self._decoder.decode(bytearray(data)) for data in (again, stored))
        if one.pixels.shape != other.pixels.shape:
            rerun.error = f"it has {one.width} x {one.height} px, the stored one {other.width} x {other.height}"
            return
        difference = np.abs(one.pixels.astype(np.int32) - other.pixels)
        rerun.differing = int(np.count_nonzero(difference))
        rerun.greatest = int(difference.max(initial=0))
        rerun.identical = rerun.differing == 0


def pixels_of(png: bytes) -> tuple[bytes, bytes]:
    """The header and the inflated rows of a PNG: all that its pixels follow from."""
    head, rows = b"", []
    for kind, data in _chunks(png):
        if kind == b"IHDR":
            head = data
        elif kind == b"IDAT":
            rows.append(data)
    return head, zlib.decompress(b"".join(rows))


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = PNG_HEAD
    while position < len(png):
        (length,) = struct.unpack(">I", png[position : position + 4])
        kind = png[position + 4 : position + 8]
        yield kind, png[position + 8 : position + 8 + length]
        position += 12 + length


def main(argv: list[str]) -> int:
    """A line for each task. Exit status 1 where one could not be restored again, or is
    another picture.
    """
    parser = argparse.ArgumentParser("python -m gpu_worker rerun")
    parser.add_argument("tasks", nargs="+")
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    settings = Settings.load()
    telemetry.configure_command(settings, "rerun")
    use_local(settings.models_dir)
    rerunner = Rerunner(settings)
    is_well = True
    for task_id in args.tasks:
        rerun = rerunner(task_id, args.compare)
        is_well &= not rerun.error and rerun.identical is not False
        print(json.dumps(asdict(rerun)) if args.json else _line(rerun), flush=True)
    return 0 if is_well else 1


def _line(rerun: Rerun) -> str:
    told = f"{rerun.task_id}  {rerun.workflow}  {rerun.seconds:.1f} s  "
    if rerun.error:
        return told + rerun.error
    if rerun.identical is None:
        return told + f"restored again by {rerun.engine}: SHA-256 {rerun.sha256}"
    if rerun.identical:
        return told + "identical, bit by bit"
    return told + (
        f"differs in {rerun.differing} samples, by {rerun.greatest} levels at most: "
        f"made by {rerun.made_by}, now by {rerun.engine}"
    )
