"""The copies to hand out that an upload asked for: made of the restored pixels, stored
beside the result, and named in the record.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from tempfile import SpooledTemporaryFile
from typing import IO, NamedTuple

from gpu_worker import codec
from gpu_worker.photo import Photo
from gpu_worker.pipeline.context import Context
from gpu_worker.pipeline.job import Job
from gpu_worker.pixels import scratch
from shared.errors import DarkroomError, NotFound
from shared.runtime.heartbeat import own
from shared.runtime.telemetry import logger
from shared.s3.store import ObjectInfo
from shared.uploads import formats, keys
from shared.uploads.documents import Copy
from shared.uploads.formats import CopyFormat, FileFormat, Format

SPOOL_BYTES = 64 << 20
_PIECE_BYTES = 1 << 20


class _Wanted(NamedTuple):
    word: CopyFormat
    file_format: FileFormat | None
    labelled: bool


class CopyMaker:
    """Makes the copies of one photo after another. `decoder` converts colours."""

    def __init__(self, ctx: Context, decoder: codec.Decoders | None) -> None:
        self._settings = ctx.settings
        self._bucket = ctx.settings.bucket_results
        self._objects = ctx.store
        self._decoder = decoder

    def make(self, job: Job, xmp: str, result: codec.Written) -> None:
        """Make the copies of a job whose result is stored, and note those that cannot be
        made.

        Those with the label come last, since it is drawn into the pixels. A copy that
        cannot be made costs nothing but itself. Raises `TransientError` where the disk
        is full or the store is away.
        """
        assert job.restored is not None
        photo = job.restored.photo
        is_stamped = self._settings.label_result
        stored: dict[str, Copy] = {}
        for wanted in _wanted(job.receipt.formats, job.receipt.source.format):
            if wanted.file_format is None:
                job.copies.append(_result_itself(job.task_id, wanted.word, result))
                continue
            if wanted.labelled and not is_stamped:
                codec.stamp(photo, self._settings.label_text)
                is_stamped = True
            extension = formats.EXTENSIONS[wanted.file_format]
            key = keys.copy(job.task_id, extension, wanted.labelled)
            copy = stored.get(key) or self._made(photo, wanted, key, xmp, job.notes)
            if copy:
                stored[key] = copy
                job.copies.append(copy.model_copy(update={"format": wanted.word}))

    def _made(
        self,
        photo: Photo,
        wanted: _Wanted,
        key: str,
        xmp: str,
        notes: list[str],
    ) -> Copy | None:
        assert wanted.file_format is not None
        obstacle = codec.obstacle(photo, wanted.file_format)
        if obstacle:
            notes.append(obstacle)
            return None
        folder = str(self._settings.scratch_dir)
        try:
            with (
                scratch.disk(self._settings),
                SpooledTemporaryFile(max_size=SPOOL_BYTES, dir=folder) as file,
            ):
                codec.write_copy(
                    photo,
                    wanted.file_format,
                    file,
                    xmp,
                    self._settings,
                    self._decoder,
                )
                return self._stored(file, wanted, key)
        except DarkroomError:
            raise
        except Exception as error:  # an encoder's fault must not cost the result
            logger().warning("copy.not_made", key=key, error=type(error).__name__)
            notes.append(f"the {wanted.file_format.upper()} copy could not be made")
            return None

    def _stored(self, file: IO[bytes], wanted: _Wanted, key: str) -> Copy:
        """Store a copy, unless an earlier attempt stored one: then that stands."""
        sha256, size = _digest(file)
        metadata = {
            "sha256": sha256,
            "bytes": str(size),
            "format": wanted.word,
            "labelled": str(wanted.labelled).lower(),
        }
        content_type = f"image/{wanted.file_format}"
        file.seek(0)
        if not self._objects.put_new(self._bucket, key, file, content_type, metadata):
            earlier = self._earlier(key)
            if earlier:
                sha256, size = earlier.metadata["sha256"], earlier.bytes
            else:
                file.seek(0)
                self._objects.put(self._bucket, key, file, content_type, metadata)
        return Copy(
            format=wanted.word,
            key=key,
            sha256=sha256,
            bytes=size,
            labelled=wanted.labelled,
        )

    def _earlier(self, key: str) -> ObjectInfo | None:
        with suppress(NotFound):  # deleted between the two requests
            found = self._objects.head(self._bucket, key)
            if "sha256" in found.metadata:
                return found
        return None


def _wanted(words: list[Format], source_format: str | None) -> list[_Wanted]:
    """The copies in the order in which they are made."""
    plain = [word for word in words if word != "labelled"]
    wanted = [
        _Wanted(word, formats.file_format(word, source_format), False) for word in plain
    ]
    if "labelled" in words:
        for word in plain or ["jpeg"]:
            file_format = formats.file_format(word, source_format) or "jpeg"
            wanted.append(_Wanted(word, file_format, True))
    return wanted


def _result_itself(task_id: str, word: CopyFormat, result: codec.Written) -> Copy:
    return Copy(
        format=word,
        key=keys.result(task_id),
        sha256=result.sha256,
        bytes=result.bytes,
    )


def _digest(file: IO[bytes]) -> tuple[str, int]:
    """SHA-256 in hex, and the length."""
    digest = hashlib.sha256()
    size = 0
    file.seek(0)
    while piece := file.read(_PIECE_BYTES):
        own().beat()
        digest.update(piece)
        size += len(piece)
    return digest.hexdigest(), size
