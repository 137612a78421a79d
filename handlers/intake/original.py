"""The object that was uploaded, and no other one at its key: whether it is there, and its
end.
"""

from __future__ import annotations

from handlers.context import Context
from handlers.intake import upload_options
from shared.errors import NotFound
from shared.s3.objects import ObjectInfo
from shared.uploads.documents import Receipt
from shared.uploads.ref import version_of


def delete_original(ctx: Context, receipt: Receipt, key: str) -> None:
    """Delete the uploaded object, unless another one lies at its key by now."""
    listed = ctx.store.every_version(receipt.source.bucket, key)
    kept = [info for info in listed if info.key == key]
    gone = [info for info in kept if _is_original(ctx, receipt, info)]
    others = [info for info in kept if info not in gone]
    if all(info.is_marker for info in others):
        gone = kept  # a delete marker would keep the name
    for info in gone:
        ctx.store.delete(info.bucket, info.key, info.version)


def is_there(ctx: Context, photo: Receipt) -> bool:
    """Whether the bucket still holds the very object: its key may be anybody's next."""
    known = photo.source.stored
    try:
        found = ctx.store.head(known.bucket, known.key, known.version)
    except NotFound:
        return False
    return found.etag == known.etag


def _is_original(ctx: Context, receipt: Receipt, info: ObjectInfo) -> bool:
    """Return whether a stored object is what was uploaded.

    Without versions the same bytes may have been put again by another user.
    """
    source = receipt.source
    if source.version:
        return info.version == source.version
    if version_of(info.version) or info.etag != source.etag:
        return False
    try:
        found = ctx.store.head(info.bucket, info.key, info.version)
    except NotFound:
        return False
    user = upload_options.user_hash(info.key, found.metadata, ctx.settings)
    return user == receipt.user_hash
