"""The pyramids in the results bucket: their only reader and writer.

A pyramid is a picture, the result or the original of a task, as JPEG tiles of every
scale in one ZIP. It can be made again at any time.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import IO

from shared.errors import Code, NotFound, PermanentError
from shared.runtime.settings import StoreSettings
from shared.s3.objects import ObjectInfo
from shared.s3.store import ObjectStore
from shared.uploads import keys
from shared.uploads.documents import Document
from shared.uploads.keys import Picture

ZIP = "application/zip"
JSON = "application/json"


class NoPyramid(Document):
    """`tiles/{task_id}.json`: why a pyramid could not be made."""

    error_code: Code
    error_detail: str
    at: datetime


@dataclass(frozen=True)
class Pyramid:
    """A pyramid that is stored; `width` and `height` of its picture [px]."""

    info: ObjectInfo
    width: int
    height: int


class PyramidStore:
    """All methods raise `StorageUnavailable`."""

    def __init__(self, objects: ObjectStore, settings: StoreSettings) -> None:
        self._objects = objects
        self._bucket = settings.bucket_results

    def find(self, task_id: str, of: Picture) -> Pyramid | None:
        """None: there is none, or something else lies there, which the next one replaces."""
        try:
            info = self._objects.head(self._bucket, keys.pyramid(task_id, of))
        except NotFound:
            return None
        try:
            width, height = (int(info.metadata[side]) for side in ("width", "height"))
        except (KeyError, ValueError):
            return None
        return Pyramid(info, width, height)

    def put(
        self, task_id: str, of: Picture, file: IO[bytes], size: tuple[int, int]
    ) -> None:
        """Store a pyramid of a picture of this width and height."""
        width, height = size
        metadata = {"width": str(width), "height": str(height)}
        key = keys.pyramid(task_id, of)
        self._objects.put(self._bucket, key, file, ZIP, metadata)

    def why_not(self, task_id: str, of: Picture) -> NoPyramid | None:
        """Why the last try came to nothing; None where it did not, or nobody tried."""
        key = keys.no_pyramid(task_id, of)
        with suppress(PermanentError):
            return NoPyramid.from_bytes(self._objects.read(self._bucket, key), key)
        return None

    def write_why_not(self, task_id: str, of: Picture, why: NoPyramid) -> None:
        key = keys.no_pyramid(task_id, of)
        self._objects.put(self._bucket, key, why.to_bytes(), JSON)

    def delete(self, task_id: str, of: Picture) -> None:
        """The pyramid, and what is said of it."""
        for key in (keys.pyramid(task_id, of), keys.no_pyramid(task_id, of)):
            self._objects.delete(self._bucket, key)
