"""The identity of an upload, and the version of an object that it is derived from."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from shared.s3.objects import ObjectInfo
from shared.uploads import identity


class UploadRef(NamedTuple):
    """One object put once: compared as a whole, never in halves.

    The same bytes put again at the same key have the same `upload_id`; the object's
    time (its LastModified, in whole seconds) tells the two uploads apart.
    """

    upload_id: str
    upload_time: datetime

    @classmethod
    def of_object(cls, info: ObjectInfo) -> UploadRef:
        """The upload that an object is; see `upload_id_of`."""
        return cls(upload_id_of(info), info.last_modified)


def upload_id_of(info: ObjectInfo) -> str:
    """The id of the upload that an object is. A plain listing does not name versions."""
    revision = version_of(info.version) or info.etag
    return identity.upload_id(info.bucket, info.key, revision)


def version_of(stored: str | None) -> str | None:
    """The version that an object really has; None in a bucket without versions.

    Stores leave the version of such an object out, send it empty, or call it `null`.
    """
    return None if stored in ("", "null") else stored
