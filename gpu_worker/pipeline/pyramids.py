"""Pyramids of results and originals, made when somebody wants to look closely: beside
the stages, in a thread of its own, one after another.

A pyramid is no photo's work. It has no claim and no attempts: a message that was lost,
or came again after a worker died, is dropped, and whoever still wants it asks again.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile, TemporaryFile
from typing import IO

import numpy as np
from structlog.contextvars import bound_contextvars

from gpu_worker import codec
from gpu_worker.codec.png_reader import PngReader
from gpu_worker.codec.pyramid import BAND_PX, Size, write_pyramid
from gpu_worker.photo import Metadata, Photo
from gpu_worker.pipeline.context import Context
from gpu_worker.pipeline.prepare import fetch
from gpu_worker.pixels import scratch
from shared.broker.consumer import Delivery
from shared.errors import Code, DarkroomError, MessageError, PermanentError
from shared.runtime.heartbeat import own
from shared.runtime.telemetry import logger
from shared.uploads import keys
from shared.uploads.documents import Receipt
from shared.uploads.messages import PyramidTask
from shared.uploads.pyramids import NoPyramid, PyramidStore

POLL_S = 0.2
SPOOL_BYTES = 64 << 20


def is_wanted(delivery: Delivery) -> bool:
    """Whether a message asks for a pyramid, and not for a photo."""
    return b'"pyramid_of"' in delivery.body


class Pyramids:
    """Takes deliveries from the consumer, and settles every one of them. `decoder`
    decodes originals, and reads the colour profiles of results.
    """

    def __init__(
        self, ctx: Context, decoder: codec.Decoders, leaving: threading.Event
    ) -> None:
        self._ctx = ctx
        self._settings = ctx.settings
        self._decoder = decoder
        self._leaving = leaving
        self._stored = PyramidStore(ctx.store, ctx.settings)
        self._waiting: queue.Queue[Delivery] = queue.Queue()

    def put(self, delivery: Delivery) -> None:
        self._waiting.put(delivery)

    def has_work(self) -> bool:
        """Whether one is being made, or waits for that."""
        return self._waiting.unfinished_tasks > 0

    def run(self) -> None:
        """Make pyramids until the worker leaves."""
        while not self._leaving.is_set():
            try:
                delivery = self._waiting.get(timeout=POLL_S)
            except queue.Empty:
                continue
            with own().working(), bound_contextvars(**delivery.ids()):
                self.make(delivery)
            self._waiting.task_done()

    def make(self, delivery: Delivery) -> None:
        """Make the pyramid that a delivery asks for, unless it is there."""
        try:
            task = PyramidTask.decode(delivery.body)
        except MessageError as error:
            delivery.dead(error.code, error.detail)
            return
        try:
            if not delivery.redelivered:
                self._try(task)
        finally:
            delivery.ack()

    def _try(self, task: PyramidTask) -> None:
        began_s = self._ctx.clock.monotonic()
        try:
            size = self._made(task)
        except PermanentError as error:
            self._give_up(task, error.code, error.detail)
        except DarkroomError as error:
            logger().warning("pyramid.postponed", code=error.code, detail=error.detail)
        except Exception:
            logger().exception("pyramid.failed", of=task.pyramid_of)
            detail = (
                "the picture could not be cut into tiles; the worker's log says why"
            )
            self._give_up(task, Code.INTERNAL, detail)
        else:
            seconds = round(self._ctx.clock.monotonic() - began_s, 3)
            logger().info(
                "pyramid.made",
                of=task.pyramid_of,
                width=size[0],
                height=size[1],
                seconds=seconds,
            )

    def _made(self, task: PyramidTask) -> Size:
        """The size of the picture whose pyramid is stored now."""
        found = self._stored.find(task.task_id, task.pyramid_of)
        if found:
            return found.width, found.height
        receipt = self._receipt(task)
        folder = str(self._settings.scratch_dir)
        with (
            scratch.disk(self._settings),
            SpooledTemporaryFile(max_size=SPOOL_BYTES, dir=folder) as file,
        ):
            if task.pyramid_of == "result":
                size = self._write_result(task.task_id, file)
            else:
                size = self._write_original(task.task_id, receipt, file)
            with own().waiting():
                self._stored.put(task.task_id, task.pyramid_of, file, size)
        # Whoever takes a photo away writes that down before he deletes: in either order
        # one side sees the other.
        if self._is_gone(task):
            self._stored.delete(task.task_id, task.pyramid_of)
        return size

    def _receipt(self, task: PyramidTask) -> Receipt:
        receipt = self._ctx.uploads.receipt(task.upload_id)
        if receipt.task_id != task.task_id:
            detail = f"{receipt.place()} is not about task {task.task_id}"
            raise PermanentError(Code.BAD_DOCUMENT, detail)
        return receipt

    def _is_gone(self, task: PyramidTask) -> bool:
        uploads = self._ctx.uploads
        if task.pyramid_of == "result" and not uploads.has_record(task.task_id):
            return True
        receipt = uploads.readable_receipt(task.upload_id)
        return receipt is None or uploads.is_erased(receipt)

    def _write_result(self, task_id: str, out: IO[bytes]) -> Size:
        record = self._ctx.uploads.record(task_id)
        with TemporaryFile(dir=self._settings.scratch_dir) as file:
            self._fetch_result(task_id, file, record.result_sha256)
            reader = PngReader(file)
            header = reader.header
            size = (header.width, header.height)
            meta = self._colours(header.icc, len(header.mode.rstrip("A")))
            bands = reader.bands(BAND_PX, meta)
            write_pyramid(size, bands, out, task_id, self._decoder)
        return size

    def _fetch_result(self, task_id: str, file: IO[bytes], sha256: str) -> None:
        """Only the very bytes that the record names are read without a decoder's
        confinement.
        """
        digest = hashlib.sha256()
        bucket = self._settings.bucket_results
        with self._ctx.store.open(bucket, keys.result(task_id)) as stream:
            for chunk in stream.chunks():
                own().beat()
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != sha256:
            detail = "the stored result is not the one that its record names; bring it back from the backup"
            raise PermanentError(Code.CHECKSUM_MISMATCH, detail)
        file.seek(0)

    def _colours(self, icc: bytes | None, channels: int) -> Metadata:
        """The profile as the decoder tells it, from a picture of one pixel: profiles
        are read in its process alone.
        """
        if icc is None:
            return Metadata()
        pixel = Photo(np.zeros((1, 1, channels), np.uint8), meta=Metadata(icc=icc))
        with SpooledTemporaryFile(max_size=SPOOL_BYTES) as file:
            codec.write_png(pixel, file, {}, 0)
            file.seek(0)
            return self._decoder.decode(file.read(), 1).meta

    def _write_original(self, task_id: str, receipt: Receipt, out: IO[bytes]) -> Size:
        source = receipt.source
        claimed = (source.width or 0) * (source.height or 0) or None
        data = fetch(self._ctx.store, source)
        photo = self._decoder.decode(data, claimed, source.page or 1)
        del data
        size = (photo.width, photo.height)
        name = f"{task_id}~original"
        write_pyramid(size, _bands(photo), out, name, self._decoder)
        return size

    def _give_up(self, task: PyramidTask, code: Code, detail: str) -> None:
        logger().warning("pyramid.impossible", of=task.pyramid_of, code=code)
        why = NoPyramid(error_code=code, error_detail=detail, at=self._ctx.clock.now())
        self._stored.write_why_not(task.task_id, task.pyramid_of, why)
        if self._is_gone(task):
            self._stored.delete(task.task_id, task.pyramid_of)


def _bands(photo: Photo) -> Iterator[Photo]:
    for top in range(0, photo.height, BAND_PX):
        rows = slice(top, top + BAND_PX)
        alpha = photo.alpha
        yield photo.with_(
            pixels=photo.pixels[rows], alpha=None if alpha is None else alpha[rows]
        )
