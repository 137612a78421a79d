"""SeaweedFS: events of its filer, in which an S3 object is a file under
`/buckets/{bucket}/`.

Keys are file paths as they are. Times are whole seconds, as in the object's own
`LastModified`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field

from handlers.intake.notifications.event import Kind, Shape, UploadEvent
from shared.uploads.ref import version_of

ROOT = "/buckets/"
PARTS = ".uploads/"
"""Where the parts of unfinished multipart uploads lie."""
VERSIONS = ".versions"
"""A versioned object is a folder of this ending with one file `v_{version id}` for each
version.
"""

_ETAG, _VERSION, _MARKER = (
    "Seaweed-X-Amz-ETag",
    "Seaweed-X-Amz-Version-Id",
    "Seaweed-X-Amz-Delete-Marker",
)
_KINDS: dict[str, Kind] = {
    "create": "create",
    "update": "overwrite",
    "rename": "rename",
}


class _Attributes(Shape):
    size: int = Field(0, alias="file_size")
    mtime: Annotated[int, Field(ge=0, lt=1 << 37)] = 0
    md5: str = ""


class _Entry(Shape):
    """A file. Zero values are left out of the JSON; `extended` values are base64.
    Inline content is not looked at.
    """

    name: str
    is_directory: bool = False
    attributes: _Attributes = _Attributes.model_validate({})
    extended: dict[str, str | None] = Field(default_factory=dict)

    def text(self, name: str) -> str:
        return base64.b64decode(self.extended.get(name) or "").decode()

    @property
    def etag(self) -> str:
        return self.text(_ETAG) or base64.b64decode(self.attributes.md5).hex()

    def same_object(self, other: _Entry) -> bool:
        """A tag or a version's retirement changes an entry, not the object."""
        ours, theirs = (
            {k: v for k, v in e.extended.items() if k.startswith("X-Amz-Meta-")}
            for e in (self, other)
        )
        return (
            ours == theirs
            and self.attributes == other.attributes
            and self.etag == other.etag
        )


class _Message(Shape):
    old: _Entry | None = Field(None, alias="old_entry")
    new: _Entry | None = Field(None, alias="new_entry")
    parent: str = Field("", alias="new_parent_path")


class _Event(Shape):
    kind: str = Field(alias="event_type")
    message: _Message


def filer(document: dict[str, Any]) -> Iterator[UploadEvent]:
    """`key` is the *old* path after a rename: where the object is now is told by parent
    and name.
    """
    event = _Event.model_validate(document)
    new, old = event.message.new, event.message.old
    if event.kind not in _KINDS or new is None or new.is_directory or new.text(_MARKER):
        return
    if event.kind == "update" and old and new.same_object(old):
        return
    path = f"{event.message.parent}/{new.name}"
    bucket, _, key = path.removeprefix(ROOT).partition("/")
    if not path.startswith(ROOT) or not key or key.startswith(PARTS):
        return
    version = new.text(_VERSION)
    yield UploadEvent(
        bucket=bucket,
        key=key.removesuffix(f"{VERSIONS}/v_{version}") if version else key,
        kind=_KINDS[event.kind],
        version=version_of(version),
        etag=new.etag or None,
        size=new.attributes.size,
        event_time=datetime.fromtimestamp(new.attributes.mtime, UTC)
        if new.attributes.mtime
        else None,
    )
