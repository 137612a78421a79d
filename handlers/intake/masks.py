"""Masks of a repair that are pictures: what was sent for a ticket, and what lies beside a
photo in the bucket.

The receipt keeps the place of the mask, and the workflow's parameter its checksum, which
the signature covers.
"""

from __future__ import annotations

from uuid import UUID

from handlers.context import Context
from handlers.intake import upload_options
from handlers.intake.probe import probe
from shared import workflows
from shared.errors import Code, NotFound, PermanentError
from shared.s3.store import ObjectInfo, ObjectStream
from shared.uploads import keys, masks
from shared.uploads.documents import Source, WorkflowRef
from shared.uploads.ref import version_of
from shared.workflows import ResolvedWorkflow

BESIDE = ".mask.png"
MAX_BYTES = 32 << 20
"""A mask is a picture of two levels, which is small."""

Fixed = tuple[ResolvedWorkflow, Source | None]
"""The workflow with the checksum of its mask, and the mask; None: it has none."""


def is_beside(key: str, workflow: WorkflowRef) -> bool:
    """Whether an object for this workflow is the mask of the photo beside it."""
    if keys.ticket_of(key) or "mask" not in workflow.params:
        return False
    return key.lower().endswith(BESIDE)


def fixed(
    ctx: Context,
    workflow: ResolvedWorkflow,
    user_hash: str,
    earlier: Source | None = None,
) -> Fixed:
    """Find the mask that the parameter names by its ticket.

    `earlier`: the mask of the task whose parameters these are. Raises
    `PermanentError(bad_parameter)` for what is no mask, or was not sent by this user.
    """
    mask = str(workflow.ref.params.get("mask", ""))
    if masks.is_picture(mask):
        if earlier is None or mask != masks.BY_CHECKSUM + str(earlier.sha256):
            raise _bad("a mask is named by its ticket, not by its checksum")
        return workflow, earlier
    if not mask.startswith(masks.BY_TICKET):
        return workflow, None
    ticket = _ticket(mask.removeprefix(masks.BY_TICKET))
    key = keys.upload(user_hash, ticket)
    try:
        with ctx.store.open(ctx.settings.bucket_uploads, key) as stream:
            found = _source(stream, ctx)
    except NotFound:
        raise _bad(
            f"nothing was sent for the ticket {ticket} of the mask, or it is gone; send the mask first"
        ) from None
    return _with(workflow, found), found


def beside(
    ctx: Context, workflow: ResolvedWorkflow, photo: ObjectInfo, user_hash: str
) -> Fixed:
    """Find the mask that lies beside a photo: `name.mask.png` beside `name.jpg`.

    Raises `PermanentError(bad_parameter)` for what is no mask, or another user's.
    """
    if workflow.ref.params.get("mask") != "" or keys.ticket_of(photo.key):
        return workflow, None
    folder, slash, name = photo.key.rpartition("/")
    key = f"{folder}{slash}{name.rpartition('.')[0] or name}{BESIDE}"
    try:
        mask = ctx.store.head(photo.bucket, key)
    except PermanentError:  # there is none, or no such key can be
        return workflow, None
    owner = upload_options.user_hash(key, mask.metadata, ctx.settings)
    if owner != user_hash:
        raise _bad("the mask beside the photo is another user's")
    with ctx.store.open(photo.bucket, key) as stream:
        found = _source(stream, ctx)
    return _with(workflow, found), found


def _ticket(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise _bad(f"{text[:80]!r} is no ticket") from None


def _source(stream: ObjectStream, ctx: Context) -> Source:
    info = stream.info
    if info.bytes > MAX_BYTES:
        raise _bad(f"the mask has {info.bytes:,} bytes, and may have {MAX_BYTES:,}")
    try:
        probed = probe(stream.chunks(), ctx.settings.widest(), 1.0, info.bytes)
    except PermanentError as error:
        raise _bad(f"the mask cannot be used: {error.detail}") from error
    if probed.header.format != "PNG":
        raise _bad(f"the mask is a {probed.header.format}, which is not lossless")
    return Source(
        bucket=info.bucket,
        key=info.key,
        version=version_of(info.version),
        etag=info.etag,
        bytes=probed.bytes,
        upload_time=info.last_modified,
        sha256=probed.sha256,
        format=probed.header.format,
        width=probed.header.width,
        height=probed.header.height,
        mode=probed.header.mode,
    )


def _with(workflow: ResolvedWorkflow, mask: Source) -> ResolvedWorkflow:
    params = {**workflow.ref.params, "mask": f"{masks.BY_CHECKSUM}{mask.sha256}"}
    return workflows.resolve(workflow.ref.name, params, workflow.ref.version)


def _bad(fault: str) -> PermanentError:
    detail = f"{fault}; a mask is a grey PNG of the photo's size, black where nothing may change"
    return PermanentError(Code.BAD_PARAMETER, detail)
